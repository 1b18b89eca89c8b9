"""zoo inspect: what an artifact is, needs and proved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument

from compile.page.fields import objects, positive, text
from compile.report import short, size, table
from zoo.cli.command import Command
from zoo.cli.labels import batched
from zoo.cli.options import JsonOption
from zoo.cli.selecting import artifact_folder
from zoo.cli.tables import counted, wrapped
from zoo.errors import ZooError


@dataclass(frozen=True, kw_only=True)
class Inspect(JsonOption, Command):
    """Verify an artifact; show what it is, needs and proved."""

    artifact: Annotated[Path, Argument()]
    """An artifact's folder."""

    def run(self) -> None:
        """Print it. Raises BadArtifact if the artifact is damaged."""
        from compile.artifact.reading import check_requirements, open_graph, verify_artifact
        from compile.artifact.status import is_proved_here
        from compile.report import show, to_json

        verified = verify_artifact(artifact_folder(self.artifact))
        manifest = verified.manifest
        if manifest["graph"] is not None:  # which nothing that runs the program looks at
            open_graph(verified)
        if self.json:
            print(to_json(manifest), end="")
            return
        unfit = None
        try:
            check_requirements(manifest, self.artifact)
        except ZooError as error:  # it may well be meant for another machine
            unfit = str(error)
        lines = inspect_lines(self.artifact, manifest, unfit, proved=is_proved_here(verified))
        show(*lines)
        if unfit is None:
            show(f"next: zoo check {self.artifact}")


def inspect_lines(
    path: Path, manifest: dict[str, Any], unfit: str | None, *, proved: bool = False
) -> list[Any]:
    """What the artifact is, needs and proved. `unfit` says why it cannot run here, or is None.

    `proved` says whether one that is pending was proved on this machine.
    """
    model, parity, needs = manifest["model"], manifest["parity"], manifest["requirements"]
    files = ", ".join(f"{n} {size(f['size'])}" for n, f in manifest["files"].items())
    batches = ", ".join("{}..{}".format(*p["batch"]) for p in manifest["programs"])
    shape = batched(manifest["inputs"][0]["shape"])
    isa = counted([len(needs["isa"])], "flag")
    rows = [
        ("model", f"{model['name']}, {model['parameters']:,} parameters, from {model['source']}"),
        ("program", f"{manifest['backend']} {manifest['precision']} on {manifest['device']}"),
        ("input", f"{manifest['inputs'][0]['dtype']} {shape}, N in {batches}"),
        ("needs", f"torch {needs['torch'] or 'any'}, {manifest['target']['name']} ({isa})"),
        ("GPU", _gpu(manifest)),
        ("files", files),
        ("status", _status(manifest, proved=proved)),
        ("parity", _parity(parity)),
        ("gates", ", ".join(gate["name"] for gate in parity["gates"])),
        ("not gated", _skipped(parity)),
        ("not tried", _left_out(parity)),
        ("repeats", _repeats(manifest["determinism"])),
        ("quantised", _quantised(manifest["quantization"])),
        ("non-finite", ", ".join(f"{k} {v}" for k, v in (manifest["nonfinite"] or {}).items())),
        ("chosen", _chosen(manifest["evidence"])),
        ("built", f"{manifest['build']['date']} in {manifest['build']['seconds']} s"),
    ]
    lines = [f"{name:<11} {value}" for name, value in rows if value]
    lines.append(f"rebuild     {manifest['build']['command']}")
    if unfit is not None:
        lines.append(f"here        {unfit}")
    return [f"{path}: sound", *wrapped(lines, indent=12), _outputs(manifest)]


def _gpu(manifest: dict[str, Any]) -> str:
    """The GPUs that it was built for, and by what; nothing for a program of a CPU."""
    from compile.artifact.status import built_for

    version = manifest["requirements"]["tensorrt"]
    built_by = f", by TensorRT {version}" if version else ""
    return "" if manifest["device"] == "cpu" else built_for(manifest) + built_by


def _status(manifest: dict[str, Any], *, proved: bool) -> str:
    """The status, and what one that is pending waits for."""
    from compile.artifact.status import built_for, kind_of

    if manifest["status"] != "pending":
        return str(manifest["status"])
    if proved:
        return "pending, and proved on this machine"
    return (
        "pending: it has never run here; a check on a machine with such a "
        f"{kind_of(manifest)} ({built_for(manifest)}) proves it there"
    )


def _parity(parity: dict[str, Any]) -> str:
    """The largest error, and where it was measured."""
    if not parity["ran_in"]:
        return "not measured when it was built"
    return f"largest error/bound {_worst(parity)}, ran in {', '.join(parity['ran_in'])}"


def _outputs(manifest: dict[str, Any]) -> Any:
    """A row for each output: its shape, how many of its values the proof looks at, its error."""
    rows = []
    for output, proof in zip(manifest["outputs"], manifest["parity"]["outputs"], strict=True):
        shape = output["shape"]
        total = math.prod(shape)
        kept = proof["positions"]
        looked_at = f"all {total:,}" if kept is None else f"{kept:,} of {total:,}"
        names = output.get("classes")
        scores = f"{len(names)} classes" if names else "classes" if proof["top1"] else "-"
        rows.append(
            (
                output["name"],
                batched(shape),
                looked_at,
                _ratio(proof),
                scores,
            )
        )
    columns = ("output", "shape", "values proved", "error\n/bound", "scores of")
    return table(columns, rows, left=("output", "shape", "scores of"))


def _worst(parity: dict[str, Any]) -> str:
    """The largest ratio of all outputs; if there are several, and of which."""
    found = [(_largest(output), output["name"]) for output in parity["outputs"]]
    known = [(ratio, name) for ratio, name in found if ratio is not None]
    if not known:
        return "not recorded"
    ratio, name = max(known)
    return f"{ratio:.2f}" + (f" ({name})" if len(found) > 1 else "")


def _ratio(proof: dict[str, Any]) -> str:
    ratio = _largest(proof)
    return "-" if ratio is None else f"{ratio:.2f}"


def _largest(proof: dict[str, Any]) -> float | None:
    """The largest error / bound of an output and of its channels; None if it is not recorded."""
    ratios = [row["rmse"] / row["bound"] for row in proof["bounds"] if row["rmse"] and row["bound"]]
    parts = (proof["channels"] or {}).get("ratio")
    return max([*ratios, *([] if parts is None else [parts])], default=None)


def _skipped(parity: dict[str, Any]) -> str:
    return "; ".join(f"{each['name']}: {each['reason']}" for each in parity["skipped_gates"])


def _left_out(parity: dict[str, Any]) -> str:
    return "; ".join(f"{each['kind']}: {each['reason']}" for each in parity["skipped_samples"])


def _repeats(entry: dict[str, Any] | None) -> str:
    """How often it was run, and whether the outputs always had the same bits."""
    if entry is None:
        return ""
    nouns = ("call", "load", "thread")
    text = ", ".join(counted([entry[f"{noun}s"]], noun) for noun in nouns) + ": "
    text += "the same bits" if entry["bit_identical"] else "NOT the same bits"
    if entry.get("runners"):
        same = "the same bits" if entry.get("runners_identical") else "NOT the same bits"
        text += f"; {entry['runners']} zoo-runs at once: {same}"
    return text


def _chosen(evidence: Any) -> str:
    """Why `zoo compile --backend fastest` took it; nothing for evidence of another kind."""
    goal, reason = text(evidence, "goal"), text(evidence, "reason")
    batch = positive(evidence, "batch")
    if text(evidence, "kind") != "fastest" or not goal or not reason or batch is None:
        return ""
    date = (text(evidence, "conditions", "date") or "an unknown day")[:10]
    measured = ", ".join(
        f"{text(each, 'artifact')} {short(positive(each, 'median_ms'))} ms"
        for each in objects(evidence, "candidates")
    )
    return f"for {goal} at batch {batch:.0f}, on {date}: {reason}; of {measured}"


def _quantised(entry: dict[str, Any] | None) -> str:
    if not entry:
        return ""
    text = f"{entry['scheme']}, by {entry['samples']} images ({entry['calibration']})"
    counted = entry.get("accuracy")
    if counted:
        text += f"; accuracy {counted['before']:.1f} %, quantised {counted['after']:.1f} %"
        if "mcnemar_p" in counted:
            text += f" ({counted['lost']} lost, {counted['won']} won, p {counted['mcnemar_p']:.2g})"
    return text
