"""What manifest.json must keep to and a schema cannot say. docs/artifact.md has the same numbers.

Each rule is given a manifest that keeps manifest.schema.json, and yields its faults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from compile.artifact.archive import is_plain
from compile.artifact.schema import manifest_schema
from compile.artifact.tensors import NOTES
from compile.errors import printable

Manifest = dict[str, Any]

GOLDEN = "golden.safetensors"

MAX_GROUPS = 4096
"""The channels of an output are put into at most so many groups."""

_MAX_VALUES = 2**28
_LAYOUTS = {"float32": "NCHW", "uint8": "NHWC"}


def broken_rule(manifest: Manifest) -> str | None:
    """The first fault, with the path of the field; None where every rule is kept."""
    return next((fault for rule in _RULES for fault in rule(manifest)), None)


def _tensors(manifest: Manifest) -> Iterator[str]:
    """2: the layout fits the dtype; no tensor has more than 2^28 values for one sample."""
    given = manifest["inputs"][0]
    wanted = _LAYOUTS[given["dtype"]]
    if given["layout"] != wanted:
        yield f"inputs[0].layout must be {wanted} for {given['dtype']}"
    for key in ("inputs", "outputs"):
        for index, entry in enumerate(manifest[key]):
            if math.prod(entry["shape"]) > _MAX_VALUES:
                yield f"{key}[{index}].shape has more than 2^28 values"


def _batches(manifest: Manifest) -> Iterator[str]:
    """3: a range of batches is not empty."""
    for index, program in enumerate(manifest["programs"]):
        low, high = program["batch"]
        if low > high:
            yield f"programs[{index}].batch must be [min, max], it is [{low}, {high}]"


def _requirements(manifest: Manifest) -> Iterator[str]:
    """4: what the target needs is required; only a GPU has an architecture."""
    needs = manifest["requirements"]
    if needs["isa"] != manifest["target"]["cpuid"]:
        yield "requirements.isa must equal target.cpuid"
    if manifest["device"] == "cpu" and needs["gpu_arch"] is not None:
        yield "requirements.gpu_arch must be null where device is cpu"


def _files(manifest: Manifest) -> Iterator[str]:
    """5: names are plain and relative, and every file that is used has a hash."""
    files, graph = manifest["files"], manifest["graph"]
    for name in files:
        if not is_plain(name):
            yield f"files holds the path '{printable(name)}', which is not plain and relative"
    for name in (GOLDEN, *(program["file"] for program in manifest["programs"])):
        if name not in files:
            yield f"files lacks '{printable(name)}'"
    if graph is not None and not is_plain(graph["file"]):
        yield "graph.file must be a plain relative path"
    if graph is not None and graph["file"] in files:
        yield "graph.file must not be among files"
    for index, name in enumerate(manifest["requirements"]["load_first"]):
        if not is_plain(name) or "/" in name:
            yield f"requirements.load_first[{index}] must be the bare name of a file"


def _outputs(manifest: Manifest) -> Iterator[str]:
    """6: outputs have names of their own, and the proof has an entry for each."""
    names = [output["name"] for output in manifest["outputs"]]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"outputs[{index}].name is that of an earlier output"
        if name == NOTES:
            yield f"outputs[{index}].name must not be {NOTES}, which .safetensors keeps for notes"
    proofs = manifest["parity"]["outputs"]
    if [proof["name"] for proof in proofs] != names:
        yield "parity.outputs must name the outputs in their order"
    samples = len(manifest["parity"]["samples"])
    for index, proof in enumerate(proofs):
        if len(proof["bounds"]) != samples:
            yield f"parity.outputs[{index}].bounds must have {samples} entries, one for each sample"
    for index, (output, proof) in enumerate(zip(manifest["outputs"], proofs, strict=True)):
        yield from _parts(output["shape"], proof, f"parity.outputs[{index}]")


def _parts(shape: list[int], proof: Manifest, where: str) -> Iterator[str]:
    """Of rule 6: how the values of one output are grouped, and how many golden keeps of them."""
    channels, positions = proof["channels"], proof["positions"]
    if (channels is None) is (len(shape) > 1):
        yield f"{where}.channels must be {_wanted(channels)} for the shape {shape}"
    if channels is not None and channels["groups"] != min(shape[0], MAX_GROUPS):
        groups = min(shape[0], MAX_GROUPS)
        yield f"{where}.channels.groups must be {groups} for the shape {shape}"
    if positions is not None and positions >= math.prod(shape):
        yield f"{where}.positions must be below {math.prod(shape)}, or null for all values"


def _wanted(found: object) -> str:
    """What a field must be instead."""
    return "an object" if found is None else "null"


def _classes(manifest: Manifest) -> Iterator[str]:
    """7: only an output of one dimension has classes, and only of classes one is most likely."""
    samples = len(manifest["parity"]["samples"])
    pairs = zip(manifest["outputs"], manifest["parity"]["outputs"], strict=True)
    for index, (output, proof) in enumerate(pairs):
        classes, shape, top1 = output.get("classes"), output["shape"], proof["top1"]
        if classes is not None and [len(classes)] != shape:
            yield f"outputs[{index}].classes has {len(classes)} names for the shape {shape}"
        where = f"parity.outputs[{index}].top1"
        if top1 is not None and len(shape) != 1:
            yield f"{where} must be null for the shape {shape}"
        if top1 is None and classes is not None:
            yield f"{where} must be an object: the output has classes"
        if top1 is not None and not top1["agreed"] <= top1["decided"] <= samples:
            yield f"{where} must keep agreed <= decided <= {samples}"


def _bounds(manifest: Manifest) -> Iterator[str]:
    """8: each bound is what its parts give."""
    k = manifest["parity"]["k"]
    for index, proof in enumerate(manifest["parity"]["outputs"]):
        for row, entry in enumerate(proof["bounds"]):
            wanted = k * entry["e_eager"] + entry["floor"]
            if abs(entry["bound"] - wanted) > 1e-6 * wanted:
                yield f"parity.outputs[{index}].bounds[{row}].bound must be k * e_eager + floor"


def _status(manifest: Manifest) -> Iterator[str]:
    """9: the status says what the proof found."""
    parity = manifest["parity"]
    bounds = [entry for proof in parity["outputs"] for entry in proof["bounds"]]
    within = all(entry["rmse"] is not None and entry["rmse"] <= entry["bound"] for entry in bounds)
    parts = [proof["channels"] for proof in parity["outputs"] if proof["channels"] is not None]
    within = within and all(part["ratio"] is not None and part["ratio"] <= 1 for part in parts)
    top1 = [proof["top1"] for proof in parity["outputs"] if proof["top1"] is not None]
    agreed = all(each["agreed"] == each["decided"] for each in top1)
    gates_passed = all(gate["passed"] for gate in parity["gates"])
    passed = within and agreed and gates_passed
    measured = parity["ran_in"] or any(entry["rmse"] is not None for entry in bounds)
    measured = measured or any(part["ratio"] is not None for part in parts)
    measured = measured or any(each["decided"] for each in top1)
    status = manifest["status"]
    if status == "proved" and not passed:
        yield "status is 'proved', but parity holds something that failed"
    if status == "accepted" and passed:
        yield "status is 'accepted', but nothing in parity failed"
    if status == "pending" and (measured or not gates_passed):
        yield "status is 'pending', but parity holds what a run measured, or a gate that failed"


def _suffixes(manifest: Manifest) -> Iterator[str]:
    """10: a program's name ends as its backend names files. Other backends are a later zoo's."""
    backend = manifest["backend"]
    allowed = tuple(manifest_schema()["x-suffixes"].get(backend, ()))
    for index, program in enumerate(manifest["programs"]):
        if allowed and not program["file"].endswith(allowed):
            yield f"programs[{index}].file must end in {' or '.join(allowed)} for {backend}"


_RULES = (
    _tensors,
    _batches,
    _requirements,
    _files,
    _outputs,
    _classes,
    _bounds,
    _status,
    _suffixes,
)
"""Rules 2 to 10; the first, which is about `schema`, comes before the schema."""
