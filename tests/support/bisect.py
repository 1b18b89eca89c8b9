"""A network of thirteen blocks, and faults planted in saved graphs under fitting hashes."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from compile.api import Model
from compile.artifact.publishing import file_entries, graph_entry
from compile.backends import torchscript
from compile.proof.images import Calibration
from compile.proof.prepared import PreparedModel
from tests.support.forgery import rewrite
from zoo.sources.source import resolve

DEEP = (3, 8, 8)
MODEL = Model(name="resnet20", source="fresh:seed=0", shape=DEEP)


def prepared_of(*, negative: bool = False) -> PreparedModel:
    """A resnet20 as `zoo compile --fresh` has it, with its calibration images or others."""
    source = resolve("resnet20", runs=Path("nowhere"), fresh=True, shape=DEEP)
    found = source.calibration(None, 64)
    assert found is not None
    images = -found[0] if negative else found[0]
    return PreparedModel(
        source.network, DEEP, calibration=Calibration(images=images, source="synthetic")
    )


def block_of(weight: str) -> tuple[str, str]:
    """The block and the module that hold a weight of the resnet20."""
    module = weight.rpartition(".")[0]
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0].startswith("layer") else parts[0], module


def perturbed(tensor: torch.Tensor, seed: int, size: float = 0.01) -> torch.Tensor:
    """Each output channel scaled by 1 + size * normal noise."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(tensor), *[1] * (tensor.ndim - 1))
    scale = 1 + size * torch.randn(shape, generator=generator)
    if tensor.dtype == torch.int8:
        return (tensor * scale).round().clamp(-128, 127).to(torch.int8)
    return tensor * scale.to(tensor.dtype)


def same(found: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether a constant of a file holds these values, at its precision and in any layout."""
    on_grid = weight.dtype == torch.int8
    fits = found.dtype == torch.int8 if on_grid else found.is_floating_point()
    if found.numel() != weight.numel() or not fits:
        return False
    wanted = weight.to(found.dtype)
    return torch.equal(found.flatten().sort().values, wanted.flatten().sort().values)


def plant(folder: Path, weight: torch.Tensor, seed: int, size: float = 0.01) -> None:
    """Change one weight in the saved graph, under fitting hashes."""
    backend = json.loads((folder / "manifest.json").read_text())["backend"]
    plants = {"torchscript": _in_script, "eager": _in_export, "torch-compile": _in_export}
    changed = plants.get(backend, _in_onnx)(folder, weight, seed, size)
    assert changed == 1
    seal(folder)


def seal(folder: Path) -> None:
    rewrite(folder, lambda m: m.update(files=file_entries(folder), graph=graph_entry(folder)))


def _in_onnx(folder: Path, weight: torch.Tensor, seed: int, size: float) -> int:
    import onnx as package

    model = package.load(folder / "model.onnx")
    changed = 0
    for tensor in model.graph.initializer:
        value = torch.from_numpy(package.numpy_helper.to_array(tensor).copy())
        if same(value, weight):
            wrong = perturbed(value, seed, size).numpy()
            tensor.CopyFrom(package.numpy_helper.from_array(wrong, tensor.name))
            changed += 1
    package.save(model, folder / "model.onnx")
    return changed


def _in_script(folder: Path, weight: torch.Tensor, seed: int, size: float) -> int:
    extra = {torchscript.MODULES: ""}
    path = str(folder / torchscript.FILE)
    module = torch.jit.load(path, _extra_files=extra)
    values = [
        node.output().toIValue()
        for node in module.graph.findAllNodes("prim::Constant")
        if node.output().type().kind() == "TensorType"
    ]
    chosen = [value for value in values if same(value, weight)]
    for value in chosen:
        value.copy_(perturbed(value, seed, size))
    torch.jit.save(module, path, _extra_files=extra)
    return len(chosen)


def _in_export(folder: Path, weight: torch.Tensor, seed: int, size: float) -> int:
    program = torch.export.load(folder / "model.pt2")
    chosen = [value for value in program.state_dict.values() if same(value, weight)]
    for value in chosen:
        value.data.copy_(perturbed(value.data, seed, size))
    torch.export.save(program, folder / "model.pt2")
    return len(chosen)
