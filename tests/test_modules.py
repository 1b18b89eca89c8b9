"""Modules that others write: which are compiled, which are refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.api import compile_module
from compile.errors import BadArtifact, CheckFailed, UsageError, ZooError
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, SmallNet


class _Net(nn.Module):
    """A convolution, a layer that may be odd, and a head."""

    def __init__(self, odd: nn.Module) -> None:
        super().__init__()
        self.conv, self.odd, self.head = nn.Conv2d(2, 4, 3), odd, nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.odd(self.conv(x)).mean((2, 3)))


class _Control(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class _NoOperator(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_exp(x)


class _ByItsLargest(nn.Module):
    """amax of all dimensions, for which the exporter wants to be told the dimensions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.abs().amax().clamp_min(1e-6)


class _Returns(_Net):
    """A network that returns what a function makes of its scores."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__(nn.ReLU())
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(super().forward(x))


def _odd_key(scores: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"a key": scores}


class _TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x + y).mean((2, 3))


class _Integers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.words(x.flatten(1)).mean(1)


class _Map(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()


class _Writes(_Map):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mul_(2).mean((2, 3))


class _Double(_Map):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double().mean((2, 3))


REFUSED: dict[str, tuple[nn.Module, type[ZooError], str]] = {
    "control flow": (_Net(_Control()), CheckFailed, r"layer 'odd' \(_Control\) .* torch\.where$"),
    "unsupported": (_Net(_NoOperator()), CheckFailed, "linalg_matrix_exp of layer 'odd'"),
    "unwritten": (_Net(_ByItsLargest()), CheckFailed, "cannot write amax of layer 'odd': .* 'dim'"),
    "no tensor": (_Returns(str), CheckFailed, "returns a str; it must return a tensor, or a tuple"),
    "no batch": (_Returns(torch.sum), CheckFailed, r"returns \(\) .* must be the batch"),
    "odd key": (
        _Returns(_odd_key),
        CheckFailed,
        "'a key', which cannot be a name; use keys",
    ),
    "too many": (_Returns(lambda y: [y] * 17), CheckFailed, "17 tensors; it may return 1 to 16"),
    "two inputs": (_TwoInputs(), BadArtifact, r"2 inputs \(x, y\).* wrap it"),
    "integers": (_Integers(), BadArtifact, "layer 'words' .* refuses a float32 input"),
    "writes": (_Writes(), CheckFailed, "writes into its input"),
    "float64": (_Double(), CheckFailed, "returns float64"),
    "no weights": (nn.Sequential(nn.Flatten(), nn.ReLU()), CheckFailed, "has no weights"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_modules_that_cannot_be_compiled(
    fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One line that says which layer and what to do, and nothing that torch printed."""
    module, kind, words = REFUSED[fault]
    with pytest.raises(kind, match=words) as caught:
        compile_module(module, CompileSpec(shape=SHAPE), backend="onnx", root=tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert capfd.readouterr() == ("", "")


class _OnlyOne(nn.Module):
    """What a reshape to a fixed batch leaves of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4 * 36, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).reshape(1, -1))


def test_a_module_that_takes_one_at_a_time(tmp_path: Path) -> None:
    assert compile_module(
        _OnlyOne(), CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path
    ).built


class _Activated(nn.BatchNorm2d):
    """A batch norm with an activation inside, as timm has them: folding would lose it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


class _AsksForTheBatch(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0 if x.shape[0] % 3 == 2 else x


def test_the_onnx_exporter_traces_in_its_own_ways(tmp_path: Path) -> None:
    """It takes a range of batches where torch.export, left to itself, refuses it."""
    spec = CompileSpec(shape=SHAPE, batch=(1, 8))
    net = _Net(_AsksForTheBatch()).eval()
    with pytest.raises(CheckFailed, match="computes something else at some batches"):
        compile_module(net, spec, backend="eager", root=tmp_path)
    assert compile_module(net, spec, backend="onnx", root=tmp_path).built


def test_a_batch_norm_that_does_more_keeps_it(tmp_path: Path) -> None:
    norm = _Activated(4)
    nn.init.uniform_(norm.running_mean, -1, 1)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    net = _Net(norm).eval()
    assert compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path).built


def test_a_bias_of_zeros_hides_nothing(tmp_path: Path) -> None:
    net = _Net(nn.ReLU())
    nn.init.zeros_(net.head.bias)
    assert compile_module(net, CompileSpec(shape=SHAPE), backend="onnx", root=tmp_path).built


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(3, *SHAPE), r"\(3, 2, 8, 8\) float32; give \(N >= 8, 2, 8, 8\)"),
        (torch.zeros(8, 5, 8, 8), "give"),
        (torch.zeros(8, *SHAPE, dtype=torch.uint8), "uint8; give"),
        (torch.full((8, *SHAPE), torch.nan), "finite"),
    ],
)
def test_samples_that_do_not_fit(
    samples: torch.Tensor, words: str, net: SmallNet, tmp_path: Path
) -> None:
    spec = CompileSpec(shape=SHAPE)
    with pytest.raises(BadArtifact, match=words):
        compile_module(net, spec, backend="torchscript", root=tmp_path, samples=samples)


def test_other_samples_are_another_request(net: SmallNet, tmp_path: Path) -> None:
    spec = CompileSpec(shape=SHAPE)
    for samples in (None, torch.randn(8, *SHAPE)):
        result = compile_module(net, spec, backend="torchscript", root=tmp_path, samples=samples)
        assert result.built
    assert result.manifest["parity"]["samples"][0]["kind"] == "real"


def test_a_name_stays_inside_the_root(net: SmallNet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no folder"):
        compile_module(net, CompileSpec(shape=SHAPE), backend="eager", root=tmp_path, name="../out")


class _OnlyNCHW(nn.Module):
    """A view that no channels_last tensor allows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.head(x.view(len(x), -1))


def test_a_module_that_insists_on_nchw(tmp_path: Path) -> None:
    result = compile_module(
        _OnlyNCHW(), CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path
    )
    assert result.built
