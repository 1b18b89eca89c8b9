"""What each layer of a TensorRT engine reads, and whether that is what its graph says.

Engines show it in two places: the inspector of a loaded engine, which needs a GPU, and the message
that the builder logs once it has compiled the layers, which needs none. TF32 shows in neither: its
layers read `Float`, as those of fp32 do, and only the builder's flag tells them apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compile.errors import CheckFailed

LOGGED = "Layers:"
"""How the builder's message begins that lists all layers."""

_TYPES = {
    "fp32": r"\b(fp32|float|float32)\b",
    "fp16": r"\b(fp16|half|float16)\b",
    "bf16": r"\b(bf16|bfloat16)\b",
    "int8": r"\bint8\b",
    "fp8": r"\b(fp8|fp8e4m3|float8\w*)\b",
}
"""How a tensor's type is written, in lower case: `FP16` in 10.x, `Half` in 11."""

_KEYS = ("Format/Datatype", "Datatype", "DataType")
"""Where a tensor's type stands: in older engines, in those of 11, and for inputs and outputs."""

_MULTIPLYING = r"conv|correlation|gemm|matrixmultiply"
"""LayerTypes that multiply by weights: a convolution is a `CaskConvolution` or a `correlation`."""

_FUSED = r"Corr|Conv|Fc|Gemm"
"""In the name of a `runtime_fusion` that multiplies: `__myl_CorrCast`, `__myl_FcAddCast`."""

_LINE = re.compile(r"Name: (.*?), LayerType: (\w+), Inputs: \[(.*?)\], Constants: \[")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer of an engine; it may stand for several nodes of the graph."""

    name: str
    """As TensorRT calls it. It often begins with the name of a node of the graph."""
    kind: str
    """Its LayerType; `""` where the engine shows names alone."""
    reads: frozenset[str]
    """The precisions of the tensors it reads, without weights and scales; empty if not shown."""

    @property
    def multiplies(self) -> bool:
        """Whether it is a convolution or a matrix."""
        if self.kind == "runtime_fusion":
            return re.search(_FUSED, self.name) is not None
        return re.search(_MULTIPLYING, self.kind, re.IGNORECASE) is not None


def of_inspector(text: str) -> list[Layer]:
    """The layers in the inspector's JSON; none where it shows names alone."""
    return [
        Layer(
            name=str(layer.get("Name", "")),
            kind=str(layer.get("LayerType", "")),
            reads=_precisions(
                str(tensor.get(key, "")) for tensor in layer.get("Inputs", []) for key in _KEYS
            ),
        )
        for layer in json.loads(text).get("Layers", [])
        if isinstance(layer, dict)
    ]


def of_log(message: str) -> list[Layer]:
    """The layers in the builder's message that begins with LOGGED; one line per layer."""
    lines = (_LINE.match(line) for line in message.splitlines())
    return [
        Layer(
            name=line[1],
            kind=line[2],
            reads=_precisions(re.findall(r"\bData[tT]ype: (\w+)", line[3])),
        )
        for line in lines
        if line
    ]


def check(layers: Sequence[Layer], precision: str, spared: int) -> None:
    """Raise CheckFailed if more than `spared` layers that multiply do not read `precision`.

    `spared` is how many the graph itself leaves in another type, such as the stem of an fp8 graph.
    Where no layer shows that it multiplies, one layer of the type is enough. Where none shows a
    type, the graph's stands, which a strongly typed network keeps.
    """
    shown = [layer for layer in layers if layer.reads]
    multiplying = [layer for layer in shown if layer.multiplies]
    judged = multiplying or shown
    wrong = [layer for layer in judged if precision not in layer.reads]
    allowed = min(spared, len(judged) - 1) if multiplying else len(judged) - 1
    if not wrong or len(wrong) <= allowed:
        return
    types = ", ".join(sorted({name for layer in wrong for name in layer.reads}))
    raise CheckFailed(
        f"the graph is {precision}, TensorRT's engine multiplies {types} in {len(wrong)} of "
        f"{len(judged)} layers, first in {wrong[0].name}; the graph leaves {spared} so"
    )


def _precisions(types: Iterable[str]) -> frozenset[str]:
    said = " ".join(types).lower()
    return frozenset(name for name, how in _TYPES.items() if re.search(how, said))
