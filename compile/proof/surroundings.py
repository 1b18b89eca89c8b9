"""What surrounds a call and is not a part of the image: gradients, inference mode, the date.

The answer must be the same in all of them, because a program knows nothing of them.
"""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch

_HOUR = 3600.0


@contextmanager
def _later(hours: float) -> Iterator[None]:
    """Set the clock ahead in Python: for whoever reads time.time, or a date of datetime.

    A name that a module imported from there is replaced in that module, too. date.today reads
    time.time.
    """
    seconds = hours * _HOUR
    span, now, now_ns = datetime.timedelta(seconds=seconds), time.time, time.time_ns
    localtime, gmtime = time.localtime, time.gmtime
    strftime, asctime, ctime = time.strftime, time.asctime, time.ctime

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + span

        @classmethod
        def utcnow(cls) -> Any:
            return super().utcnow() + span

    instead = {
        time.time: lambda: now() + seconds,
        time.time_ns: lambda: now_ns() + int(seconds * 1e9),
        time.localtime: lambda at=None: localtime(now() + seconds if at is None else at),
        time.gmtime: lambda at=None: gmtime(now() + seconds if at is None else at),
        time.strftime: lambda form, at=None: strftime(form, at or time.localtime()),
        time.asctime: lambda at=None: asctime(at or time.localtime()),
        time.ctime: lambda at=None: ctime(time.time() if at is None else at),
        datetime.datetime: Later,
    }
    with _replaced(instead):
        yield


@contextmanager
def _replaced(instead: Mapping[Any, Any]) -> Iterator[None]:
    """Replace each key by its value, in every module of Python that has a name for it."""
    by_id = {id(old): new for old, new in instead.items()}
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})  # what lies there need not be a module
        for name, value in list(names.items()):
            if id(value) in by_id:
                changed.append((names, name, value))
    try:
        for names, name, value in changed:
            names[name] = by_id[id(value)]
        yield
    finally:
        for names, name, value in changed:
            names[name] = value


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "where gradients are on": torch.enable_grad,
    "in torch's inference mode": torch.inference_mode,
    "11 hours later": partial(_later, 11),
    "100 days later": partial(_later, 100 * 24),
    "20 years later": partial(_later, 20 * 366 * 24),
}
"""What follows `the answer is another one`, and what a call is made in."""
