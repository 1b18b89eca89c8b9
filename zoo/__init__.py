"""Train a ResNet, compile it for every backend, prove that they agree, and measure them.

>>> import zoo
>>> run = zoo.train("resnet18")
>>> result = zoo.compile(run, backend="inductor")
>>> scores = zoo.load(result.path)(images)

The command `zoo` has the same functions, with mostly the same options and defaults. `import zoo`
does not import torch: each function imports what it needs when it is called.
"""

from typing import TYPE_CHECKING

from zoo.own_compile import load_own_compile

load_own_compile()

if TYPE_CHECKING:
    from zoo.api import (
        Classifier,
        bench,
        build,
        check,
        compare,
        compile,  # noqa: A004 the command's name; Python's own builtin stays what it is
        info,
        list_models,
        load,
        report,
        train,
    )

__version__ = "0.1.0"

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


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a type checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"zoo has no '{name}'; it has: {', '.join(__all__)}")
        from zoo import api

        return getattr(api, name)
