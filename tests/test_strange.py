"""Modules that Python and torch put up with, and that no compiler expects: taken, or one line."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from compile.api import compile_module
from compile.backends import torchscript
from compile.errors import CheckFailed, ZooError, first_line
from compile.network.layers import layer_text
from compile.network.network import Network
from compile.spec import CompileSpec
from tests.support.functions import SHAPE, Net, Wrapped
from zoo import cli

Tensor = torch.Tensor


def same(net: Any, x: Tensor) -> Tensor:
    return x


def with_list(kept: Any, **attributes: Any) -> Net:
    net = Net(same, table=kept, **attributes)
    kept.append(kept)
    return net


def with_dict() -> Net:
    table: dict[str, Any] = {}
    table["all"] = [table]
    return Net(same, table=table)


def circular() -> nn.Module:
    net, child = Net(same), nn.Module()
    net.child, child.up = child, net
    return net


class GivesItself(Net):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


class InnerGivesItself(nn.ReLU):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


class GivesNothing(Net):
    def __deepcopy__(self, memo: Any) -> Any:
        return None


class NoModules(Net):
    def named_modules(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no layers for you")


class NoHash(Net):
    def __hash__(self) -> int:
        raise TypeError("no hash")


class Unmovable(Net):
    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("may not be moved")


class NeverSetUp(nn.Module):
    def __init__(self) -> None:
        pass


class Own(BaseException):
    pass


class Throws(Net):
    def __init__(self, error: BaseException) -> None:
        super().__init__(same)
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        raise self.error


class Subclass(Tensor):
    pass


def subclassed() -> Net:
    net = Net(same)
    net.weight = nn.Parameter(torch.rand(16, 1, 1).as_subclass(Subclass))
    return net


def nested(levels: int) -> Net:
    layer: nn.Module = nn.ReLU()
    for _ in range(levels):
        layer = nn.Sequential(layer)
    return Net(lambda net, x: net.deep(x), deep=layer)


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "sparse": (lambda: Net(same, s=torch.eye(4).to_sparse()), "buffer 's' of the module is sparse"),
    "list in itself": (lambda: with_list([]), "attribute 'table' of the module holds itself"),
    "dict in itself": (with_dict, "attribute 'table' of the module holds itself"),
    "circular": (circular, "layer 'child.up' is the module again, which holds it"),
    "gives itself": (
        lambda: GivesItself(same),
        "__deepcopy__ of the module returns the layer itself",
    ),
    "inner gives itself": (
        lambda: Net(same, act=InnerGivesItself()),
        r"__deepcopy__ of layer 'act' \(InnerGivesItself\) returns the layer itself",
    ),
    "gives nothing": (lambda: GivesNothing(same), "__deepcopy__ of the module returns a NoneType"),
    "no modules": (lambda: NoModules(same), "layers cannot be listed: no layers for you"),
    "no hash": (lambda: NoHash(same), "layers cannot be listed: no hash"),
    "unmovable": (lambda: Unmovable(same), "brought to the CPU: may not be moved"),
    "never set up": (NeverSetUp, r"the module was never set up: .* super\(\).__init__\(\)"),
    "own exception": (lambda: Throws(Own("mine")), "refuses a float32 input of 1x3x8x8: Own: mine"),
    "generator's exit": (lambda: Throws(GeneratorExit()), ": GeneratorExit; call the module"),
    "subclass": (subclassed, "weight 'weight' of the module cannot be copied"),
    "too deep": (lambda: nested(400), "nested too deeply"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_strange_module_is_refused_in_one_line(fault: str) -> None:
    make, words = REFUSED[fault]
    with pytest.raises(ZooError, match=words) as caught:
        Network(make(), SHAPE).check()
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 500


class Slots(Net):
    __slots__ = ("factor",)

    def __init__(self) -> None:
        super().__init__(lambda net, x: net.factor * x)
        self.factor = 2


class ExtraState(Net):
    def get_extra_state(self) -> Any:
        return {"version": 3}

    def set_extra_state(self, state: Any) -> None:
        assert state == {"version": 3}


class Rectified(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # type: ignore[override]
        return x.relu()


class Unreadable(Net):
    @property
    def device(self) -> Any:
        raise StopIteration


def again(net: Any, x: Tensor) -> Tensor:
    return checkpoint(net.mix, x, use_reentrant=True)


TAKEN: dict[str, Callable[[], nn.Module]] = {
    "autograd function": lambda: Net(lambda net, x: Rectified.apply(x)),
    "dictionary of sizes": lambda: Net(lambda net, x: x * {4: 0.5}[x.shape[-1]]),
    "property that raises": lambda: Unreadable(same),
    "computed again": lambda: Net(again, mix=nn.Conv2d(16, 16, 1)),
    "slots": Slots,
    "extra state": lambda: ExtraState(same),
    "itself in a dictionary": lambda: (lambda net: (setattr(net, "all", {"me": net}), net)[1])(
        Net(same)
    ),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_a_strange_module_that_is_sound_is_built(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = CompileSpec(shape=SHAPE)
    assert compile_module(TAKEN[kind](), spec, backend="torchscript", root=tmp_path).built
    assert capfd.readouterr() == ("", "")


def test_what_a_backend_throws_names_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(lambda net, x: net.layer(x), layer=Wrapped(lambda x: x))

    def build(module: nn.Module, spec: CompileSpec, folder: Path) -> Any:
        module.get_submodule("layer").function = lambda x: {}[8]  # type: ignore[assignment]
        return module(spec.example())

    monkeypatch.setattr(torchscript, "build", build)
    with pytest.raises(
        CheckFailed,
        match=r"^torchscript could not build layer 'layer' \(Wrapped\): KeyError: 8; replace what",
    ):
        compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)


class Scaled(Net):
    """Its settings lie in attributes alone: in numbers, functions, hooks and unsaved buffers."""

    def __init__(self, factor: float, function: Any, shift: float) -> None:
        super().__init__(lambda net, x: net.function(net.factor * x) + net.shift)
        self.factor, self.function = factor, function
        self.register_buffer("shift", torch.tensor(shift), persistent=False)


def double(x: Tensor) -> Tensor:
    return 2 * x


def tenfold(layer: nn.Module, given: Any) -> Any:
    return (10 * given[0],)


def hooked() -> nn.Module:
    net = Scaled(1.0, torch.relu, 0.0)
    net.conv.register_forward_pre_hook(tenfold)
    return net


def test_networks_with_the_same_weights_and_other_settings_are_told_apart() -> None:
    makers: list[Callable[[], nn.Module]] = [
        lambda: Scaled(1.0, torch.relu, 0.0),
        lambda: Scaled(2.0, torch.relu, 0.0),
        lambda: Scaled(1.0, torch.tanh, 0.0),
        lambda: Scaled(1.0, double, 0.0),
        lambda: Scaled(1.0, lambda x: 2 * x, 0.0),
        lambda: Scaled(1.0, lambda x: 3 * x, 0.0),
        lambda: Scaled(1.0, torch.relu, 1.0),
        hooked,
    ]
    first = [Network(make(), SHAPE).structure_sha256 for make in makers]
    again = [Network(make(), SHAPE).structure_sha256 for make in makers]
    assert first == again and len(set(first)) == len(makers)


def test_a_number_that_a_trace_made_a_constant_is_told(tmp_path: Path) -> None:
    net = Net(lambda net, x: x * x.max().item())
    with pytest.raises(CheckFailed, match=r"a constant of a number at test_strange\.py, line "):
        compile_module(net, CompileSpec(shape=SHAPE), backend="torchscript", root=tmp_path)


def test_long_names_and_long_messages_are_cut() -> None:
    assert len(layer_text("0." * 400, nn.ReLU())) < 90
    assert len(first_line(ValueError("a b" * 400))) < 310


def test_a_keyboard_interrupt_that_no_key_caused_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert "the code of a network raised KeyboardInterrupt" in capsys.readouterr().err
