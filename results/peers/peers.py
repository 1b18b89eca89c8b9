"""The other tools of the field: what each runs at which precision, and why it cannot run another.

Each starts from what its users start from: the .onnx that the exporter wrote, or for a tool that
sits on torch the exported graph. At int8 all run the same quantised graph, so that what they
compute is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Model:
    """The file that a tool is given."""

    backend: str
    """Of the artifact that holds it."""
    precision: str
    graph: bool = False
    """Whether it is the exported graph beside the program, and not the program."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One row of PEERS."""

    name: str
    tool: str
    """The file in results/peers/tools/."""
    environment: str
    models: Mapping[str, Model]
    """What it is given at each precision."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why it runs no other precision."""
    same_engine: str = ""
    """The backend that zoo-run runs with the same library."""


_ONNX = Model(backend="onnx", precision="fp32")
_NO_BF16 = "on a CPU of x86 it has no kernels that compute in bf16"

PEERS = (
    Peer(
        name="OpenVINO",
        tool="openvino",
        environment="peers",
        models={
            "fp32": _ONNX,
            "bf16": _ONNX,
            "int8": Model(backend="openvino", precision="int8"),
        },
        same_engine="openvino",
    ),
    Peer(
        name="ONNX Runtime",
        tool="onnxruntime",
        environment="peers",
        models={"fp32": _ONNX, "int8": Model(backend="onnx", precision="int8")},
        reasons={"bf16": _NO_BF16},
        same_engine="onnx",
    ),
    Peer(
        name="MNN",
        tool="mnn",
        environment="peers",
        models={"fp32": _ONNX},
        reasons={
            "bf16": "on x86 it computes in fp32, whatever precision it is told to take",
            "int8": "its converter crashes on a quantised .onnx; weights alone in int8 are "
            "computed in fp32; its own quantiser needs images and makes another network",
        },
    ),
    Peer(
        name="TVM",
        tool="tvm",
        environment="tvm",
        models={"fp32": _ONNX, "int8": Model(backend="onnx", precision="int8")},
        reasons={"bf16": "it compiles the float32 of the .onnx as it is"},
    ),
    Peer(
        name="zentorch",
        tool="zentorch",
        environment="zentorch",
        models={
            precision: Model(backend="inductor", precision=precision, graph=True)
            for precision in ("fp32", "bf16", "int8")
        },
    ),
)
