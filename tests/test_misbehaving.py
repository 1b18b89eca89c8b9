"""Modules whose own code throws, or does odd things: each is taken, or refused in one line."""

from __future__ import annotations

import copy
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile.backends import choose
from compile.errors import Unavailable, ZooError
from compile.network.copying import copied
from compile.network.network import Network
from compile.network.prepare import cast
from tests.support.networks import SHAPE


class _Net(nn.Module):
    """A convolution, a layer that may be odd, and a head."""

    def __init__(self, odd: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 3)
        self.odd = nn.ReLU() if odd is None else odd

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.odd(self.conv(x)).mean((2, 3)))


class _Call(nn.Module):
    """A layer that calls a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def _raises(error: BaseException) -> nn.Module:
    def throw(_: object) -> None:
        raise error

    return _Net(_Call(throw))


class _Keyword(_Net):
    def forward(self, x: torch.Tensor, *, mask: torch.Tensor) -> Any:
        return super().forward(x * mask)


class _NoInput(_Net):
    def forward(self) -> Any:  # type: ignore[override]
        return self.head.bias


class _Nothing(_Net):
    def forward(self, x: torch.Tensor) -> None:
        del x


class _NoEval(_Net):
    def eval(self) -> Any:
        raise NotImplementedError("it has no evaluation mode")


class _EvalOfNothing(_Net):
    def eval(self) -> Any:
        super().eval()


class _NoRepr(_Net):
    def __repr__(self) -> str:
        raise ValueError("no words for it")


class _NoState(_Net):
    def state_dict(self, *_: Any, **__: Any) -> Any:
        raise TypeError("no state for you")


class _Lock(nn.ReLU):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class FullyShardedDataParallel(_Net):
    """A class of that name, as torch's own needs several processes."""


def _hooked(*, before: bool) -> nn.Module:
    net = _Net()
    if before:
        net.odd.register_forward_pre_hook(lambda *_: {}["mask"])
    else:
        net.odd.register_forward_hook(lambda *_: 1 / 0)
    return net


def _meta() -> nn.Module:
    return _Net(nn.Conv2d(4, 4, 1, device="meta"))


def _lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lazy layers are new
        return _Net(nn.LazyConv2d(4, 1))


def _scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.ReLU())  # type: ignore[no-any-return]


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "assertion": (lambda: _raises(AssertionError()), r"layer 'odd' \(_Call\) .*: AssertionError;"),
    "key": (
        lambda: _raises(KeyError("mask")),
        r"layer 'odd' .*: KeyError: 'mask'; call the",
    ),
    "index": (lambda: _Net(_Call(lambda _: [][1])), r"layer 'odd' .*: list index out of range"),
    "division": (lambda: _Net(_Call(lambda x: x / (1 // 0))), r"layer 'odd' .* by zero"),
    "exit": (lambda: _raises(SystemExit(3)), r"layer 'odd' .*: SystemExit: 3"),
    "colours": (lambda: _raises(RuntimeError("\x1b[96ma\x1b[0m b\nc")), r": a b; call the module"),
    "hook": (lambda: _hooked(before=False), r"layer 'odd' \(ReLU\) .* by zero"),
    "hook before": (lambda: _hooked(before=True), r"layer 'odd' \(ReLU\) .*: KeyError: 'mask'"),
    "keyword": (_Keyword, r"needs the keyword 'mask' .* wrap it in a module that gives"),
    "no input": (_NoInput, "forward takes no input"),
    "nothing": (_Nothing, "returns nothing; it must return a tensor"),
    "no eval": (_NoEval, "evaluation mode: it has no evaluation mode"),
    "eval of nothing": (_EvalOfNothing, r"eval\(\) returns a NoneType; it must return the module"),
    "no repr": (_NoRepr, "cannot be written out: no words for it"),
    "no state": (_NoState, "weights cannot be read: no state for you"),
    "lock": (lambda: _Net(_Lock()), r"attribute 'lock' of layer 'odd' \(_Lock\) cannot be copied"),
    "lazy": (_lazy, r"layer 'odd' \(LazyConv2d\) has no weights yet; call the module once"),
    "meta": (_meta, r"layer 'odd' \(Conv2d\) has its weights on the meta device"),
    "scripted": (_scripted, "the module is a TorchScript module; give the nn.Module"),
    "scripted inside": (lambda: _Net(_scripted()), r"layer 'odd' .* is a TorchScript module"),
    "sharded": (FullyShardedDataParallel, "holds a part of its weights only"),
    "float64 weights": (lambda: _Net().double(), r"layer 'conv' .*; call \.float\(\)"),
    "quantised": (lambda: _Net(torch.ao.nn.quantized.ReLU6()), "layer 'odd' .* quantised already"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_a_module_throws_is_one_line(fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, words = REFUSED[fault]
    with pytest.raises(ZooError, match=words) as caught:
        network = Network(make(), SHAPE)
        network.check()
        _ = network.structure_sha256
    assert len(str(caught.value).splitlines()) == 1
    assert "--input" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


class _Loud(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("a shape:", x.shape)
        print("an error", file=sys.stderr)
        warnings.warn("very loud", stacklevel=1)
        return x


class _Keeps(nn.Module):
    """It keeps its last output, which torch cannot copy while it has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.last = nn.Conv2d(4, 4, 1), [torch.zeros(())]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = [self.mix(x)]
        return self.last[0]


class _NeedsGradients(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            y = x.detach().requires_grad_()
            return torch.autograd.grad((y**3).sum(), y)[0]


class _Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(6, 6, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(torch.fft.fft2(x) * self.filter).real


def _called(net: nn.Module) -> nn.Module:
    net(torch.randn(1, *SHAPE))
    return net


def _normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return _called(_Net(nn.utils.weight_norm(nn.Conv2d(4, 4, 3))))


TAKEN: dict[str, Callable[[], nn.Module]] = {
    "loud": lambda: _Net(_Loud()),
    "weight norm": _normed,
    "kept": lambda: _called(_Net(_Keeps())),
    "gradients": lambda: _Net(_NeedsGradients()),
    "complex": lambda: _Net(_Complex()),
    "parallel": lambda: nn.DataParallel(_Net()),
    "compiled": lambda: torch.compile(_Net(nn.Conv2d(4, 4, 1))),  # type: ignore[dict-item]
    "compiled inside": lambda: _Net(torch.compile(nn.Conv2d(4, 4, 1))),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", TAKEN)
def test_odd_modules_are_taken(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """They are checked and folded and have an oracle. The caller's module stays as it was."""
    given = TAKEN[kind]()
    capfd.readouterr()
    needed = [each.requires_grad for each in given.parameters()]
    network = Network(given, SHAPE)
    network.check()
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    answers = network.oracle(x.double())
    folded = network.folded
    assert capfd.readouterr() == ("", "")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.allclose(folded(x).double(), answers, atol=1e-5)
    assert needed == [each.requires_grad for each in given.parameters()]


def test_a_wrapper_changes_no_weights_and_no_names() -> None:
    plain, wrapped = _Net(), nn.DataParallel(_Net())
    wrapped.module.load_state_dict(plain.state_dict())
    assert Network(wrapped, SHAPE).weights_sha256 == Network(plain, SHAPE).weights_sha256


def test_a_cast_keeps_the_imaginary_parts() -> None:
    lowered = cast(_Net(_Complex()), "bf16")
    assert lowered.get_parameter("module.odd.filter").dtype == torch.complex64
    assert lowered.get_parameter("module.conv.weight").dtype == torch.bfloat16


def test_torch_itself_cannot_copy_the_old_weight_norm() -> None:
    """Once it can, `copied` is a plain deep copy."""
    net = _normed()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)
    weight = copied(net).get_submodule("odd").weight
    assert torch.equal(weight, net.get_submodule("odd").weight)


@pytest.mark.parametrize("name", ["inductor", "torch-compile"])
def test_a_temporary_folder_with_a_space_is_refused_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch hands such a path to the compiler as two."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    with pytest.raises(Unavailable, match=r"no folder with a space, such as .*a b: set TMPDIR"):
        choose(name, "fp32", "cpu")
