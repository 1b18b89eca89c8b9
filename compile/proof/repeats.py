"""Does a module give the same answer to the same image, whatever was called before?"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import torch
from torch import nn

from compile.errors import first_line
from compile.network.copying import copied
from compile.network.flat import OtherShapes
from compile.proof.apart import LIMIT, WHOLE, distance, in_words
from compile.proof.counters import counters, put_back
from compile.proof.culprit import Recorded, first_apart, record
from compile.proof.state import State, changed, state_of
from compile.proof.surroundings import SURROUNDINGS

CALLS = 200
"""Calls of the module in float32, with two images that take turns."""

FEWEST = 20
"""Calls that are made however long they take."""

_SECONDS = 8.0
"""No further call is made after this time."""

_TURNS = (0, 0, 1, 1)
"""Which image is given: each follows itself, and the other."""

ADVICE = "an answer must depend on the image alone, not on earlier calls, modes or the time"

_NAMED = 3
"""Most tensors and numbers that a message names."""


@contextmanager
def own_randomness() -> Iterator[None]:
    """Give torch, numpy and Python their random numbers back as they were."""
    ours, theirs = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)


def seed(number: int) -> None:
    """Seed torch on the CPU, numpy and Python."""
    torch.default_generator.manual_seed(number)  # torch.manual_seed also notes who called it
    np.random.seed(number)
    random.seed(number)


def _generators() -> dict[str, object]:
    """Where the generators of torch, numpy and Python stand."""
    _, key, position, *_ = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (np.asarray(key).tobytes(), position),
        "Python": random.getstate(),
    }


def _moved(number: int) -> set[str]:
    """The generators that moved since they were seeded with `number`; they are reset to that."""
    now = _generators()
    seed(number)
    return {name for name, state in _generators().items() if state != now[name]}


def unsteady(
    module: nn.Module, images: Sequence[torch.Tensor], columns: Sequence[slice] = WHOLE
) -> str | None:
    """What makes answers to one image differ, in words; None if nothing does.

    Args:
        module: on the CPU, in evaluation mode, and never called before; it is called.
        images: two, (1, C, H, W) each.
        columns: of each output, in the rows that the module returns.
    """
    with own_randomness():
        try:
            return _Repeats(module, images, columns).fault()
        except OtherShapes as error:
            return str(error)
        except Exception as error:
            return f"the module breaks when it is called again: {first_line(error)}"


class _Repeats:
    """Two copies of a module that were never called. They are given the images in other orders."""

    def __init__(
        self, module: nn.Module, images: Sequence[torch.Tensor], columns: Sequence[slice]
    ) -> None:
        self.module = module
        self.twin = copied(module)
        self.images = images
        self.columns = columns
        self.drew: set[str] = set()
        """The generators that moved in calls whose answers differ."""

    def fault(self) -> str | None:
        """What makes answers differ, in words."""
        wanted = [self._answer(self.twin, which, 0) for which in (1, 0)][::-1]
        settled: State | None = None
        deadline = time.monotonic() + _SECONDS
        for call in range(CALLS):
            if call % len(_TURNS) == 0:
                if call >= FEWEST and time.monotonic() > deadline:
                    break
                settled = settled or (state_of(self.module) if call else None)
            which = _TURNS[call % len(_TURNS)]
            answer = self._answer(self.module, which, call + 1)
            if torch.equal(answer, wanted[which]):
                continue
            self.drew |= _moved(call + 1)
            if not self._same(answer, wanted[which]):
                return self._reason(call + 1, which, self._far(answer, wanted[which]))
        assert settled is not None
        written = [name for name in changed(settled, state_of(self.module)) if _registered(name)]
        if written:
            return f"a call changes {_listed(written)}; change it only in training"
        return self._fault_elsewhere(wanted[0]) or self._fault_later(wanted[0])

    def _fault_elsewhere(self, wanted: torch.Tensor) -> str | None:
        """What shows that an answer depends on what surrounds the call."""
        for where, surroundings in SURROUNDINGS.items():
            with suppress(Exception):  # what cannot be called there shows nothing
                with torch.no_grad(), surroundings():
                    answer = self._call(self.twin, 0, 0)
                if not self._same(answer, wanted):
                    far = in_words(self._far(answer, wanted))
                    return f"the answer is another one {where}: it differs by {far}; {ADVICE}"
        return None

    def _fault_later(self, wanted: torch.Tensor) -> str | None:
        """What shows that an answer depends on how many calls were counted."""
        found = counters(self.twin, lambda: self._answer(self.twin, 0, 0))
        with put_back(found):
            for counter in found:
                for value in counter.later():
                    counter.put(value)
                    with suppress(Exception):  # it may be the place in a list
                        answer = self._answer(self.twin, 0, 0)
                        if not self._same(answer, wanted):
                            return (
                                "the answer changes with the number of calls: by "
                                f"{in_words(self._far(answer, wanted))} once {counter.name} is "
                                f"{value:g}; {ADVICE}"
                            )
        return None

    @torch.no_grad()
    def _answer(self, module: nn.Module, which: int, number: int) -> torch.Tensor:
        """The answer to an image, with the generators at the seed `number`."""
        return self._call(module, which, number)

    def _call(self, module: nn.Module, which: int, number: int) -> torch.Tensor:
        """The same with gradients as they are."""
        seed(number)
        return module(self.images[which].clone()).detach().clone()

    def _far(self, answer: torch.Tensor, wanted: torch.Tensor) -> float:
        """How far two answers are apart, in the output where they are furthest."""
        return distance(answer, wanted, self.columns)

    def _same(self, answer: torch.Tensor, wanted: torch.Tensor) -> bool:
        """Whether two answers count as the same."""
        return self._far(answer, wanted) <= self._limit

    def _same_inside(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        """Whether two tensors inside the module do."""
        return distance(one, other) <= self._limit

    @property
    def _limit(self) -> float:
        """Not one bit may differ where numbers were drawn."""
        return 0.0 if self.drew else LIMIT[torch.float32]

    def _reason(self, call: int, which: int, far: float) -> str:
        """Words for answers that are `far` apart: the layer, and what it keeps or draws."""
        kept = changed(state_of(self.twin), state_of(self.module))
        apart = self._two_answers(which)
        culprit = first_apart(*apart, self._same_inside) if apart else None
        layer = culprit.layer if culprit else "the module"
        drawn = [name for where, name in apart[1].drawn if where == layer] if apart else []
        if drawn or self.drew - {"torch"} or (self.drew and culprit is None):
            by = f"torch's {drawn[0]}" if drawn else f"of {' and '.join(sorted(self.drew))}"
            return (
                f"{layer} draws random numbers in eval ({by}): answers to the same image differ by "
                f"{in_words(far)}; pass training=self.training, or draw once in __init__"
            )
        registered = [name for name in kept if _registered(name)]
        if registered:
            return (
                f"a call changes {_listed(registered)}: answers to the same image differ by "
                f"{in_words(far)}; change it only in training"
            )
        first = f", first in {layer}" if culprit else ""
        keeps = f"; calls change {_listed(kept)}" if kept else ""
        return (
            f"the answer changes from call to call: in call {call} by {in_words(far)}"
            f"{first}{keeps}; {ADVICE}"
        )

    def _two_answers(self, which: int) -> tuple[Recorded, Recorded] | None:
        """Two recorded calls with the same image whose answers differ, if they happen again."""
        first = self._recorded(self.module, which, 0)
        for number in range(1, CALLS):
            other = self._recorded(self.twin if number == 1 else self.module, which, number)
            if not self._same(first.output, other.output):
                return first, other
        return None

    def _recorded(self, module: nn.Module, which: int, number: int) -> Recorded:
        seed(number)
        return record(module, self.images[which])


def _registered(name: str) -> bool:
    """Whether a name of `changed` is that of a weight or a buffer."""
    return not name.startswith("attribute")


def _listed(names: Sequence[str]) -> str:
    """`buffer 'a', weight 'b'`, the first few."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
