"""Signals that wait: training ends between two steps, where all that it knows fits together."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_WAITING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in the list that is yielded, and deliver the first at the end.

    A second signal is delivered at once, for whoever cannot wait for the step to end. Outside the
    main thread, which alone may change handlers, nothing is deferred.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before: dict[int, Any] = {signum: signal.getsignal(signum) for signum in _WAITING}

    def note(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1:
            restore()
            signal.raise_signal(signum)

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler)

    for signum in _WAITING:
        signal.signal(signum, note)
    try:
        yield received
    finally:
        restore()
    if len(received) == 1:
        signal.raise_signal(received[0])
