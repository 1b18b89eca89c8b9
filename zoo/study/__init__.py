"""The claims of the ResNet paper as experiments: `zoo study degradation`.

Each file is one experiment: the claim, the networks that decide it, a table and a picture. All
train through zoo.training, so a study that was stopped can be resumed.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from zoo.errors import UsageError
from zoo.study.lab import Experiment

STUDIES = {
    "degradation": "zoo.study.degradation",
    "gradients": "zoo.study.gradients",
    "shortcuts": "zoo.study.shortcuts",
    "responses": "zoo.study.responses",
    "identity": "zoo.study.identity",
}


def find_study(name: str) -> Experiment:
    """Return the experiment called `name`. UsageError for an unknown name."""
    if name not in STUDIES:
        raise UsageError(f"unknown study '{name}'; choose one of: {', '.join(STUDIES)}")
    return cast(Experiment, import_module(STUDIES[name]))
