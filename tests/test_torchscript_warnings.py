"""TorchScript is deprecated, and torch 2.14 says so visibly: zoo's own calls do not show it.

torch 2.14 has the words of this torch under another category, so its modules are given that one.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
import torch

from compile.api import compile_module
from compile.artifact.reading import open_artifact
from compile.backends import torchscript
from compile.loading import load
from compile.spec import CompileSpec
from tests.support.networks import SHAPE, small_prepared

MODULES = ("_trace", "_freeze", "_serialization", "_script")


@pytest.fixture
def visible(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warnings of torch.jit as torch 2.14 has them: of a category that Python shows."""
    for name in MODULES:
        module = sys.modules[f"torch.jit.{name}"]
        monkeypatch.setattr(module, "DeprecationWarning", FutureWarning, raising=False)


@pytest.mark.usefixtures("visible")
def test_no_warning_of_torchscript_reaches_a_user(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = CompileSpec(shape=SHAPE)
        made = compile_module(small_prepared(), spec, backend="torchscript", root=tmp_path)
        load(made.path)(torch.zeros(1, *SHAPE))
        artifact = open_artifact(made.path)
        (program,) = artifact.programs
        torchscript.named_graph(artifact.files[program.file].path)
    assert [str(each.message) for each in caught if "jit" in str(each.message)] == []


@pytest.mark.usefixtures("visible")
def test_a_warning_of_a_users_own_call_stays() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.jit.trace(torch.nn.ReLU(), torch.zeros(1))  # type: ignore[no-untyped-call]
    shown = [str(each.message) for each in caught if each.category is FutureWarning]
    assert any("`torch.jit.trace` is deprecated" in text for text in shown)
