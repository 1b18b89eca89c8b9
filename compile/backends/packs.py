"""The packed weights of a loaded .pt2: packed anew when the number of threads or the batch changes.

See compile.backends.packing for what the file holds.
"""

from __future__ import annotations

import json
from threading import Lock
from typing import TYPE_CHECKING, Any

from compile.backends.inductor_file import stored
from compile.backends.packing import NOTE
from compile.returned import Returned, as_returned

if TYPE_CHECKING:
    import torch


class Packs:
    """Runs a program of AOTInductor with weights that are packed for each call.

    Packing takes as long as reordering the weights in one call. A call with as many threads and as
    large a batch as the one before it finds them packed.
    """

    def __init__(self, loader: Any, path: str) -> None:
        self._loader = loader
        self._notes = json.loads(loader.get_metadata().get(NOTE, "[]"))
        self._plain = _values(path, {note["weight"] for note in self._notes})
        self._packed: dict[str, torch.Tensor] = {}
        """What the program uses without owning it."""
        self._packed_for: tuple[int, int] | None = None
        self._lock = Lock()  # the weights must not change during a call

    def run(self, x: torch.Tensor) -> Returned:
        """What the program returns for x (N, ...)."""
        import torch

        with self._lock:
            wanted = torch.get_num_threads(), len(x) if self._notes else 0
            if self._packed_for != wanted:
                self._pack(len(x), first=self._packed_for is None)
                self._packed_for = wanted
            return as_returned(self._loader.run([x]))

    def _pack(self, batch: int, *, first: bool) -> None:
        import torch

        pack = torch.ops.mkldnn._reorder_convolution_weight
        packed = {}
        for note in self._notes:
            ways = [note[name] for name in ("padding", "stride", "dilation", "groups")]
            packed[note["weight"]] = pack(
                self._plain[note["weight"]], *ways, [batch, *note["sample"]]
            )
        if packed or not first:
            # Whatever it is given, the next call runs the file's constant graph again.
            self._loader.load_constants(packed, False, False, True)
        self._packed = packed


def _values(path: str, names: set[str]) -> dict[str, torch.Tensor]:
    """The plain weights of these names, strided as they lie in the file."""
    import torch

    return {
        row.original: data.view(getattr(torch, row.dtype)).as_strided(row.shape, row.stride)
        for row, data in (stored(path) if names else ())
        if row.original in names
    }
