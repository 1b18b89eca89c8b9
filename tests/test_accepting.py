"""What may be published although it failed, and what the refusal says to run next."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from compile.api import compile_module, load
from compile.artifact.reading import open_artifact
from compile.backends import backend
from compile.errors import CheckFailed, UsageError
from compile.proof.accepting import is_accepted, largest_error, next_step
from compile.spec import CompileSpec
from tests.support.faults import tampered
from tests.support.networks import SHAPE, small_net
from zoo.cli.compile_options import parse_accept_error

SPEC = CompileSpec(shape=SHAPE)


def parity(
    *, rmse: float | None = 1.0, agreed: int = 5, gates: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """A proof whose second sample has this error and a bound of 1."""
    rows = [{"rmse": 0.5, "bound": 1.0}, {"rmse": rmse, "bound": 1.0}]
    return {
        "outputs": [
            {"bounds": rows, "top1": {"decided": 5, "agreed": agreed}, "channels": None},
            {"bounds": rows, "top1": None, "channels": {"ratio": rmse}},
        ],
        "gates": list(gates),
    }


def gate(value: float | None, bound: float = 1.0) -> dict[str, Any]:
    return {"name": "batches", "value": value, "bound": bound, "passed": False}


@pytest.mark.parametrize(
    ("failed", "largest", "accepted"),
    [
        (parity(rmse=2.5), 3.0, True),
        (parity(rmse=3.5), 3.0, False),
        (parity(rmse=3.5), math.inf, True),
        (parity(rmse=2.5), 0.0, False),
        (parity(rmse=None), 3.0, False),
        (parity(rmse=None), math.inf, True),
        (parity(agreed=4), 3.0, False),
        (parity(agreed=4), math.inf, True),
        (parity(gates=(gate(2.0),)), 3.0, True),
        (parity(gates=(gate(4.0),)), 3.0, False),
        (parity(gates=(gate(None),)), 3.0, False),
        (parity(gates=(gate(1.0, bound=0.0),)), 3.0, False),
        (parity(gates=(gate(0.0),)), 3.0, False),  # no clear sample: there is no error to multiply
    ],
)
def test_a_number_takes_errors_of_that_size(
    failed: dict[str, Any], largest: float, accepted: bool
) -> None:
    assert is_accepted(failed, largest) is accepted


def test_what_python_takes() -> None:
    assert [largest_error(each) for each in (False, True, 3)] == [0.0, math.inf, 3.0]


@pytest.mark.parametrize("given", ["3x", None, math.nan, -1, 0.5])
def test_what_python_refuses(given: Any) -> None:
    with pytest.raises(UsageError, match="such as 3"):
        largest_error(given)


@pytest.mark.parametrize(
    ("text", "meant"), [(None, False), ("any", True), ("3x", 3.0), ("3", 3.0), ("1.5x", 1.5)]
)
def test_what_the_command_takes(text: str | None, meant: bool | float) -> None:
    assert parse_accept_error(text) == meant


@pytest.mark.parametrize("text", ["", "x", "1x", "0", "-3x", "3xx", "1e9", "nan", "inf", "yes"])
def test_what_the_command_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="such as 3x, or any"):
        parse_accept_error(text)


def test_a_factor_is_named_that_would_take_it() -> None:
    torchscript, folder = backend("torchscript"), Path("artifacts/net 1/torchscript-fp32-b1-cpu")
    near = next_step(torchscript, folder, parity(rmse=2.5))
    assert near.startswith("`--accept-error 3x` publishes it all the same")
    assert near.endswith(f"`zoo bisect '{folder}'` names the layer")
    for far in (parity(rmse=1e6), parity(rmse=None), parity(agreed=4)):
        assert next_step(torchscript, folder, far).startswith("`--accept-error any`")
    assert "bisect" not in next_step(backend("tensorrt"), folder, parity(rmse=2.5))


def test_no_layer_is_at_fault_if_the_precision_costs_too_much() -> None:
    noise = {**gate(0.9, bound=0.7), "name": "quantisation noise"}
    onnx, folder = backend("onnx"), Path("artifacts/net/onnx-int8-b1-cpu")
    said = next_step(onnx, folder, parity(gates=(noise,)))
    assert "give --calibrate images like its inputs" in said and "bisect" not in said
    assert said.endswith("`--accept-error 2x` publishes it all the same")
    for also in (parity(rmse=2.5, gates=(noise,)), parity(rmse=None, gates=(noise,))):
        assert "bisect" in next_step(onnx, folder, also)
    assert "bisect" in next_step(onnx, folder, parity(gates=(gate(2.0),)))


def test_a_refusal_says_how_wrong_it_is_and_what_to_run(tmp_path: Path) -> None:
    wrong = tampered("shortcut without its ReLU")
    with pytest.raises(CheckFailed) as refused:
        compile_module(wrong, SPEC, backend="torchscript", root=tmp_path, accept_error=3)
    text = str(refused.value)
    assert re.search(r"wrong by \d\.\de[-+]\d+ of the output, PyTorch by \d\.\de-\d+", text), text
    folder = re.search(r"`zoo bisect (\S+)` names the layer", text)
    assert folder is not None and "`--accept-error any` publishes it" in text
    made = compile_module(wrong, SPEC, backend="torchscript", root=tmp_path, accept_error=True)
    assert str(made.path) == folder[1]
    assert open_artifact(made.path).manifest["status"] == "accepted"


def test_no_bound_is_widened_by_accepting(tmp_path: Path) -> None:
    """The bounds are those of the network's own proof; an artifact that keeps them is proved."""

    def bounds(root: Path, accept_error: bool | float) -> list[float]:
        made = compile_module(
            small_net(), SPEC, backend="torchscript", root=root, accept_error=accept_error
        )
        assert made.manifest["status"] == "proved"
        load(made.path)
        return [row["bound"] for row in made.manifest["parity"]["outputs"][0]["bounds"]]

    assert bounds(tmp_path / "a", False) == bounds(tmp_path / "b", 100.0)
