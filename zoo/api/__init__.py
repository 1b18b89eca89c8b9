"""What `import zoo` offers: build, train, compile, load, check and measure networks.

Each function has the name of a command, and most of its options and defaults: `zoo.compile` is
`zoo compile`. Wrong input is an error of zoo.errors, which says in one line what was given, what is
allowed and what to do. Torch is imported inside the functions, so that importing this is cheap.
"""

from zoo.api.compiling import compile  # noqa: A004 the command's name
from zoo.api.loading import Classifier, load
from zoo.api.networks import list_models, train
from zoo.api.proving import bench, check, compare
from zoo.api.reporting import report
from zoo.models import build, info

__all__ = [
    "Classifier",
    "bench",
    "build",
    "check",
    "compare",
    "compile",
    "info",
    "list_models",
    "load",
    "report",
    "train",
]
