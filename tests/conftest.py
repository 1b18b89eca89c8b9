"""Fixtures that several files share: a small residual network and the artifacts built from it."""

from __future__ import annotations

import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from compile import files
from compile.api import compile_module
from compile.runner import build_runner, find_runner
from compile.spec import CompileSpec
from tests.support.networks import KINDS, SHAPE, SmallNet, small_net, small_prepared


@pytest.fixture
def net() -> SmallNet:
    return small_net()


@pytest.fixture(scope="session")
def libraries() -> SimpleNamespace:
    """`torchvision` (its resnet module) and `timm`, to compare with.

    The wheel of torchvision does not import beside a CPU torch unless its operators exist.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    if not hasattr(torch.ops.torchvision, "nms"):
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import timm
            from torchvision.models import resnet
    except (ImportError, RuntimeError, AttributeError) as error:
        sys.modules.pop("torchvision", None)
        pytest.skip(f"torchvision and timm do not import here: {error}")
    return SimpleNamespace(torchvision=resnet, timm=timm, library=library)


@pytest.fixture
def torchvision(libraries: SimpleNamespace) -> ModuleType:
    """All of torchvision."""
    return sys.modules["torchvision"]


@pytest.fixture(scope="session")
def runner() -> Path:
    """zoo-run, built from this checkout where it can be."""
    found = build_runner() or find_runner()
    if found is None:
        pytest.skip("zoo-run is not built and cannot be: no cmake here")
    return found


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, runner: Path) -> dict[str, Path]:
    """One artifact of each kind, proved in Python and by zoo-run. Never change them."""
    root = tmp_path_factory.mktemp("artifacts")
    found = {}
    prepared = small_prepared()
    for kind, (backend, precision, batch) in KINDS.items():
        spec = CompileSpec(shape=SHAPE, precision=precision, batch=batch)
        result = compile_module(
            prepared, spec, backend=backend, root=root, runner=runner, name="smallnet"
        )
        found[kind] = result.path
    return found


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let two seconds pass for `abandoned`, to which a folder younger than one counts as in use."""

    def two_seconds() -> None:
        clock = SimpleNamespace(time=lambda: time.time() + 2)
        monkeypatch.setattr(files, "time", clock)

    return two_seconds


@pytest.fixture
def copy_of(built: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of an artifact that a test may damage."""

    def copy(kind: str) -> Path:
        return Path(shutil.copytree(built[kind], tmp_path / kind))

    return copy
