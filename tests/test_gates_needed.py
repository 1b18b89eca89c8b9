"""No gate is there for show: each has a fault that it alone catches.

With the gate in place the fault is refused, and by nothing else; without it the fault is published.
So whoever removes a gate, or weakens it, sees its row fail.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compile import api, loading
from compile.backends.base import Backend
from compile.network.fold import fold_batch_norms
from compile.network.prepare import cast
from compile.network.quantize import scheme_here
from compile.proof import determinism, parity, yardstick
from compile.proof.images import Calibration, Labelled
from compile.proof.prepared import PreparedModel
from compile.runner import run_inputs
from compile.spec import CompileSpec
from tests.support.faults import (
    BOUND,
    CLASS,
    IMAGES,
    NON_FINITE,
    UNCLEAR,
    Tampered,
    WronglyFolded,
    attempt,
    folded,
    gate_of,
    sound,
)
from tests.support.functions import Tiring
from tests.support.networks import SHAPE, SmallNet, small_net

ROOT = Path(__file__).parents[1]
PRECISION, ZOO_RUN = "precision", "zoo-run"


def after_folding(net: nn.Module) -> PreparedModel:
    """The sound network; the backend is given `net`, folded and cast."""
    module = fold_batch_norms(net, torch.zeros(1, *SHAPE))
    return Tampered(lambda spec, _: cast(module, spec.precision))


class _Darker(SmallNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x * (255 / 256))


class _OneBatch(SmallNet):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * (x.shape[0] / 8)


def darker() -> PreparedModel:
    """Pixels divided by 256 where training divided by 255."""
    net = small_net()
    net.__class__ = _Darker
    return after_folding(net)


def one_batch() -> PreparedModel:
    """Right at the batch that golden.safetensors is run in, and at no other."""
    net = small_net()
    net.__class__ = _OneBatch
    return after_folding(net)


def classes_exchanged() -> PreparedModel:
    """Two of a hundred classes change places; their weights differ by 2 %."""
    net = small_net()
    net.fc = nn.Linear(32, 100, bias=False)
    with torch.no_grad():
        net.fc.weight.mul_(0.1)
        net.fc.weight[0] = 1.0
        net.fc.weight[1] = 1.0 - 5 / 256
    base = PreparedModel(net, SHAPE)
    wrong = copy.deepcopy(base.network.folded)
    with torch.no_grad():
        wrong.fc.weight[:2] = wrong.fc.weight[:2].flip(0)
    return Tampered(lambda spec, _: cast(wrong, spec.precision), base)


def tiring() -> PreparedModel:
    """A program that counts its calls and goes wrong after a hundred of them."""
    return Tampered(lambda spec, _: Tiring(copy.deepcopy(sound().network.folded)).eval())


def equal_classes() -> PreparedModel:
    """A head that was never loaded: every class has the same weights."""
    net = small_net()
    with torch.no_grad():
        net.fc.weight[:] = net.fc.weight[0].clone()
        net.fc.bias.fill_(0.5)
    return PreparedModel(net, SHAPE)


def folded_in_bf16() -> PreparedModel:
    """Cast first, folded afterwards: weights are rounded three times."""
    net = small_net().bfloat16()
    for name in ("1", "2", "3"):
        convolution, norm = getattr(net, f"conv{name}"), getattr(net, f"bn{name}")
        setattr(net, f"conv{name}", nn.utils.fuse_conv_bn_eval(convolution, norm))
        setattr(net, f"bn{name}", nn.Identity())
    return Tampered(lambda spec, _: cast(net, spec.precision))


def a_step_off() -> PreparedModel:
    """One int8 weight of the whole network is one step too small."""

    def make(spec: CompileSpec, maker: Backend) -> nn.Module:
        wrong = copy.deepcopy(sound().quantised_tasks.graph(scheme_here(maker.QUANTIZER)))
        weight = next(value for _, value in wrong.weights() if value.dtype == torch.int8)
        largest = int(weight.abs().argmax())
        weight.view(-1)[largest] -= int(weight.view(-1)[largest].sign())
        return wrong

    return Tampered(make)


def not_cast() -> PreparedModel:
    """The file is float32, which is closer to the oracle than was asked for."""
    return Tampered(lambda spec, _: cast(sound().network.folded, "fp32"))


def black_calibration() -> PreparedModel:
    """Ranges decided by black images cut everything off."""
    black = Calibration(images=torch.zeros(64, *SHAPE), source="black")
    return PreparedModel(small_net(), SHAPE, samples=_flat(64), calibration=black)


def other_calibration() -> PreparedModel:
    """Ranges decided by images much fainter than those of the test set."""
    net, images = small_net(), _flat(400)
    with torch.no_grad():
        labels = net(images).argmax(dim=1)
    return PreparedModel(
        net,
        SHAPE,
        calibration=Calibration(images=IMAGES, source="noise"),
        labelled=Labelled(images=images, labels=labels),
    )


def _flat(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return (4 * torch.randn(count, SHAPE[0], 1, 1, generator=generator)).expand(-1, *SHAPE).clone()


def any_batch(patch: pytest.MonkeyPatch) -> None:
    """A loader that passes on whatever batch it is given."""
    patch.setattr(loading, "check_input", lambda x, wanted, programs, **_: programs[0])


def shifted_runner(patch: pytest.MonkeyPatch) -> None:
    """A runner that reads images one pixel off."""

    def shifted(runner: Path, folder: Path, x: torch.Tensor, *rest: Any, **named: Any) -> Any:
        return run_inputs(runner, folder, x.roll(1, dims=3), *rest, **named)

    patch.setattr(determinism, "run_inputs", shifted)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A gate and a fault that it alone catches."""

    gate: str
    prepared: Callable[[], PreparedModel]
    cell: tuple[str, str] = ("torchscript", "fp32")
    """Backend and precision."""
    batch: tuple[int, int] = (1, 1)
    environment: Callable[[pytest.MonkeyPatch], None] | None = None
    """The fault, where it is not in the module."""


ROWS = (
    Row(gate=BOUND, prepared=darker),
    Row(gate=CLASS, prepared=classes_exchanged, cell=("torchscript", "bf16")),
    Row(gate=UNCLEAR, prepared=equal_classes),
    Row(
        gate="fp32 before the cast",
        prepared=lambda: WronglyFolded(folded("epsilon 1e-3 for 1e-5")),
        cell=("torchscript", "bf16"),
    ),
    Row(gate="constants", prepared=folded_in_bf16, cell=("torchscript", "bf16")),
    Row(gate="constants", prepared=a_step_off, cell=("onnx", "int8")),
    Row(gate="batches", prepared=one_batch, batch=(1, 8)),
    Row(gate="determinism", prepared=tiring),
    Row(gate="batches refused", prepared=sound, batch=(1, 8), environment=any_batch),
    Row(gate="quantisation noise", prepared=black_calibration, cell=("onnx", "int8")),
    Row(gate="accuracy budget", prepared=other_calibration, cell=("onnx", "int8")),
    Row(gate=PRECISION, prepared=not_cast, cell=("torchscript", "bf16")),
    Row(gate=ZOO_RUN, prepared=sound, environment=shifted_runner),
)

REDUNDANT = {NON_FINITE}
"""What another gate always catches too. A NaN or an infinity is beyond every bound; the gate gives
it its name."""

RECORDED = {"a clear sample"}
"""What the manifest of an accepted artifact says of UNCLEAR. It decides nothing: UNCLEAR did."""


def names(row: Row) -> str:
    doc = (row.environment or row.prepared).__doc__ or row.gate
    return f"{row.gate}-{doc.split('.')[0].split(':')[0]}"


@pytest.mark.parametrize("row", ROWS, ids=names)
def test_only_this_gate_catches_it(
    row: Row, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = request.getfixturevalue("runner") if row.gate == ZOO_RUN else None
    if row.environment is not None:
        row.environment(monkeypatch)
    prepared = row.prepared()

    def compiled(root: str, without: tuple[str, ...]) -> Any:
        place = tmp_path / root
        return attempt(prepared, *row.cell, place, batch=row.batch, runner=runner, without=without)

    kept = compiled("kept", ())
    assert not kept.published, kept.ratio
    if row.gate == PRECISION:
        assert kept.message == "asked for bf16, the file holds fp32"
        monkeypatch.setattr(api, "check_held", lambda held, asked, inner: None)
    elif row.gate == ZOO_RUN:
        assert kept.failed and all(name.startswith("zoo-run: ") for name in kept.failed), kept
    else:
        assert set(kept.failed) == {row.gate}, kept
    removed = compiled("removed", (row.gate,))
    assert removed.published, removed


def test_what_is_not_finite_is_beyond_its_bound_too() -> None:
    golden = sound().golden("float32")
    limit = yardstick.measure_bounds(small_net(), "fp32", golden)
    for value in (torch.nan, torch.inf, -torch.inf):
        output = golden.oracle.float()
        output[3, 2] = value
        gates = {gate_of(reason) for reason in parity.judge(output, golden, limit).reasons}
        assert gates >= {NON_FINITE, BOUND}


def reported(source: str) -> Iterator[str]:
    """The gates that a module can report: entries with a name and a value, reasons of a verdict."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Dict):
            entry = {
                key.value: value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant)
            }
            name = entry.get("name")
            if "value" in entry and isinstance(name, ast.Constant):
                yield str(name.value)
        elif isinstance(node, ast.FunctionDef) and node.name == "judge":
            yield from (gate_of(_text(call.args[0])) for call in _reasons(node))


def _reasons(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "reasons.append":
            yield node


def _text(node: ast.expr) -> str:
    """A string as it reads when every number in it is 23."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "23" for part in parts)


def test_every_gate_has_a_row() -> None:
    """A new gate without a fault of its own fails here."""
    sources = [path.read_text() for path in (ROOT / "compile").rglob("*.py")]
    found = {name for source in sources for name in reported(source)}
    assert found | {PRECISION, ZOO_RUN} == {row.gate for row in ROWS} | REDUNDANT | RECORDED


def test_a_gate_without_a_row_is_found() -> None:
    assert list(reported('{"name": "novelty", "value": 1.0, "passed": True}')) == ["novelty"]
    judge = "def judge():\n    reasons.append(f'{count} rows of another kind')\n"
    with pytest.raises(LookupError, match="23 rows of another kind"):
        list(reported(judge))
