"""A module that does not take a range of batches: the line says where, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.api import compile_module
from compile.errors import CheckFailed
from compile.network.batches import why_not
from compile.spec import CompileSpec
from tests.support.functions import SHAPE, Net, Wrapped

Tensor = torch.Tensor

RANGE = CompileSpec(shape=SHAPE, batch=(1, 8))


def length(x: Tensor) -> Tensor:
    return x.reshape(len(x), 16, 4, 4)


def one_by_one(x: Tensor) -> Tensor:
    return torch.stack([image.tanh() for image in x])


def in_a_range(x: Tensor) -> Tensor:
    return torch.cat([x[i : i + 1].tanh() for i in range(x.shape[0])])


def by_thirds(x: Tensor) -> Tensor:
    return x + 0 if x.shape[0] % 3 == 2 else x


LAYERS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "len": (length, "makes a number of the batch"),
    "int": (lambda x: x.reshape(int(x.shape[0]), 16, 4, 4), "makes a number of the batch"),
    "one by one": (one_by_one, "makes a number of the batch"),
    "in a range": (in_a_range, "makes a number of the batch"),
    "one image": (lambda x: x.view(1, 16, 4, 4), "itself refuses a batch of 8: shape '.1, 16, 4"),
}


def with_layer(function: Callable[[Any], Any]) -> Net:
    return Net(lambda net, x: net.layer(x), layer=Wrapped(function))


@pytest.mark.parametrize("backend", ["torchscript", "onnx"])
@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_said_which_layer_fixes_the_batch(kind: str, backend: str, tmp_path: Path) -> None:
    function, words = LAYERS[kind]
    net = with_layer(function)
    with pytest.raises(CheckFailed, match=rf"layer 'layer' \(Wrapped\).* {words}.*--batch") as told:
        compile_module(net, RANGE, backend=backend, root=tmp_path)
    assert "x.shape[0]" in str(told.value) and "parity" not in str(told.value)
    if kind != "one image":
        assert "(test_reasons_of_batches.py, line " in str(told.value)
    single = CompileSpec(shape=SHAPE)
    assert compile_module(net, single, backend="torchscript", root=tmp_path).built


def test_what_differs_at_some_batches_is_told() -> None:
    reason = why_not(with_layer(by_thirds).eval(), RANGE)
    assert reason is not None and "computes something else at some batches (" in reason


def test_nothing_is_said_of_a_sound_module() -> None:
    sound = with_layer(lambda x: x.reshape(x.shape[0], -1).unflatten(1, (16, 4, 4))).eval()
    assert why_not(sound, RANGE) is None
    assert why_not(with_layer(length).eval(), CompileSpec(shape=SHAPE)) is None
    assert why_not(nn.Sequential(nn.Flatten(), nn.Linear(192, 10)).eval(), RANGE) is None
