"""The part of the corpus of manifests that is about outputs: several, and of any shape."""

from __future__ import annotations

from typing import Any

from compile.artifact.manifest import Manifest
from tests.support.manifests import BOUND, ROWS, Change, both, each_bound, put

CHANNELS = {"groups": 3, "ratio": 0.5, "worst": "normal, channel 1, border"}
MAP = {"name": "logits", "dtype": "float32", "shape": [3, 4, 4]}
PENDING = both(
    put("status", "pending"),
    put("parity/ran_in", []),
    each_bound(rmse=None),
    put("parity/outputs/0/top1", {"decided": 0, "agreed": 0}),
)
"""The base as a builder without its target leaves it."""


def more_output(name: str, shape: list[int], **proof: Any) -> Change:
    """One output more, and its proof."""
    channels = CHANNELS if len(shape) > 1 else None
    entry = {"name": name, "positions": None, "bounds": [BOUND] * ROWS, "channels": channels}
    entry |= {"top1": None, "max_abs": 1e-07, "sqnr_db": 130.0, **proof}

    def change(manifest: Manifest) -> None:
        manifest["outputs"].append({"name": name, "dtype": "float32", "shape": shape})
        manifest["parity"]["outputs"].append(entry)

    return change


def _map(**proof: Any) -> Change:
    """The base with a map as its only output; `proof` changes the proof of it."""
    proof = {"channels": CHANNELS, "top1": None, **proof}
    fields = (put(f"parity/outputs/0/{key}", value) for key, value in proof.items())
    return both(put("outputs/0", MAP), *fields)


_AGREED = {"decided": 14, "agreed": 14}
_PENDING_MAP = both(PENDING, _map(channels={"groups": 3, "ratio": None, "worst": None}))

ANY_SHAPE = both(
    more_output("map", [3, 4, 4], positions=10),
    more_output("embedding", [5]),
    more_output("number", []),
    more_output("tokens", [8, 2], channels={**CHANNELS, "groups": 8}, positions=12),
)
"""An output of each kind; the files of tests/data/tensors/golden belong to it."""

SOUND: dict[str, Change] = {
    "accepted-part-beyond-its-bound": both(
        put("status", "accepted"), _map(channels={**CHANNELS, "ratio": 1.5})
    ),
    "accepted-part-unknown": both(
        put("status", "accepted"), _map(channels={**CHANNELS, "ratio": None, "worst": None})
    ),
    "groups-4096-of-5000": more_output("tokens", [5000, 2], channels={**CHANNELS, "groups": 4096}),
    "output-of-eight-dimensions": both(_map(), put("outputs/0/shape", [3, 1, 1, 2, 1, 2, 1, 2])),
    "output-of-three-dimensions": _map(),
    "outputs-16": both(*(more_output(f"another {index}", [2]) for index in range(15))),
    "outputs-of-any-shape": ANY_SHAPE,
    "outputs-two-of-classes": more_output("auxiliary", [3], top1=_AGREED),
    "part-at-its-bound": _map(channels={**CHANNELS, "ratio": 1}),
    "pending-of-a-map": _PENDING_MAP,
    "positions-all-but-one": _map(positions=47),
    "top1-null-without-classes": both(
        put("outputs/0/classes", None), put("parity/outputs/0/top1", None)
    ),
}

_PARTS = "parity.outputs[0].channels"
_KEPT = "parity.outputs[0].positions"

FORGED: dict[str, tuple[Change, str]] = {
    "channels-null-of-a-map": (_map(channels=None), _PARTS),
    "channels-of-a-vector": (put("parity/outputs/0/channels", CHANNELS), _PARTS),
    "channels-without-worst": (_map(channels={"groups": 3, "ratio": 0.5}), f"{_PARTS}.worst"),
    "classes-of-a-map": (
        both(_map(), put("outputs/0/classes", 3 * ["a"])),
        "outputs[0].classes",
    ),
    "groups-5000": (
        both(put("outputs/0/shape", [5000, 1]), _map(channels={**CHANNELS, "groups": 5000})),
        f"{_PARTS}.groups",
    ),
    "groups-another": (_map(channels={**CHANNELS, "groups": 4}), f"{_PARTS}.groups"),
    "groups-below-4096-of-5000": (
        more_output("tokens", [5000, 2], channels=CHANNELS),
        "parity.outputs[1].channels.groups",
    ),
    "groups-zero": (_map(channels={**CHANNELS, "groups": 0}), f"{_PARTS}.groups"),
    "output-named-metadata": (more_output("__metadata__", [2]), "outputs[1].name"),
    "outputs-17": (both(*(more_output(f"another {index}", [2]) for index in range(16))), "outputs"),
    "parity-in-another-order": (
        both(more_output("embedding", [5]), lambda m: m["parity"]["outputs"].reverse()),
        "parity.outputs",
    ),
    "parity-of-one-output-of-two": (
        both(more_output("embedding", [5]), lambda m: m["parity"]["outputs"].pop()),
        "parity.outputs",
    ),
    "pending-but-a-part-measured": (
        both(_PENDING_MAP, put("parity/outputs/0/channels/ratio", 0.5)),
        "status",
    ),
    "positions-a-number-of-another-type": (_map(positions=4.5), _KEPT),
    "positions-all": (_map(positions=48), _KEPT),
    "positions-of-a-single-number": (
        more_output("number", [], positions=1),
        "parity.outputs[1].positions",
    ),
    "positions-zero": (_map(positions=0), _KEPT),
    "proved-part-beyond-its-bound": (_map(channels={**CHANNELS, "ratio": 1.0000001}), "status"),
    "proved-part-unknown": (_map(channels={**CHANNELS, "ratio": None}), "status"),
    "proved-second-output-beyond-its-bound": (
        more_output("embedding", [5], bounds=[{**BOUND, "rmse": 1.3e-06}] * ROWS),
        "status",
    ),
    "ratio-below-zero": (_map(channels={**CHANNELS, "ratio": -0.5}), f"{_PARTS}.ratio"),
    "second-output-bound-another": (
        more_output("embedding", [5], bounds=[{**BOUND, "bound": 1.3e-06}] * ROWS),
        "parity.outputs[1].bounds[0].bound",
    ),
    "second-output-bounds-too-few": (
        more_output("embedding", [5], bounds=[BOUND] * 15),
        "parity.outputs[1].bounds",
    ),
    "top1-of-a-map": (_map(top1=_AGREED), "parity.outputs[0].top1"),
    "top1-of-a-number": (more_output("number", [], top1=_AGREED), "parity.outputs[1].top1"),
    "without-channels": (
        lambda m: m["parity"]["outputs"][0].pop("channels"),
        f"{_PARTS} is missing",
    ),
    "without-positions": (
        lambda m: m["parity"]["outputs"][0].pop("positions"),
        f"{_KEPT} is missing",
    ),
}
