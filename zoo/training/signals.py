"""Signals that wait for the end of a step, when the state of a training run is consistent."""

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

    A second signal is delivered at once, for users who cannot wait for the step to end. Only the
    main thread may change handlers, so other threads defer nothing.
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
