"""Run an engine of any package that has the API of TensorRT 10 and 11, on torch's tensors.

`trt` is such a package, imported. No backend by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compile.backends.tensorrt_builder import logger
from compile.errors import BadArtifact, Unavailable
from compile.returned import Returned, as_returned

if TYPE_CHECKING:
    import torch

INPUT = "input"
"""What the exported graph calls its input."""


def runtime(trt: Any, log: Any) -> Any:
    """A runtime that also takes portable plans, which carry code of the host.

    That asks for no new trust: every kind of artifact is a program, and its hash was compared.
    """
    made = trt.Runtime(log)
    made.engine_host_code_allowed = True
    return made


class Plan:
    """An engine and its context, which need each other and the runtime to stay."""

    def __init__(self, trt: Any, plan: bytes, outputs: tuple[str, ...] | None) -> None:
        """Load a plan. `outputs` are the names in the manifest's order; None: the engine's own.

        Raises BadArtifact if it does not load, or has other outputs.
        """
        self._log = logger(trt)
        self._runtime = runtime(trt, self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BadArtifact(
                f"TensorRT {trt.__version__} cannot load the file here: {self._log.reason()}; "
                "rebuild it"
            )
        self._outputs = _outputs(self._engine, outputs)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise Unavailable(f"TensorRT cannot run the file here: {self._log.reason()}")
        # The detail that the builder asks for slows each call down unless it is turned off again.
        self._context.nvtx_verbosity = trt.ProfilingVerbosity.NONE

    def __call__(self, x: torch.Tensor) -> Returned:
        """(N, ...) -> float32 (N, ...) for each output, on torch's current stream."""
        import torch

        x = x.contiguous()  # TensorRT gets an address and believes that it is
        context = self._context
        if not context.set_input_shape(INPUT, tuple(x.shape)):
            raise RuntimeError(f"TensorRT refuses the shape {tuple(x.shape)}: {self._log.reason()}")
        context.set_tensor_address(INPUT, x.data_ptr())
        returned = []
        for name in self._outputs:
            shape = tuple(context.get_tensor_shape(name))
            returned.append(torch.empty(shape, dtype=torch.float32, device=x.device))
            context.set_tensor_address(name, returned[-1].data_ptr())
        if not context.execute_async_v3(torch.cuda.current_stream(x.device).cuda_stream):
            raise RuntimeError(f"TensorRT did not run: {self._log.reason()}")
        return as_returned(returned)


def _outputs(engine: Any, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The engine's outputs, in the order wanted."""
    tensors = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = tuple(name for name in tensors if name != INPUT)
    if wanted is not None and sorted(wanted) != sorted(found):
        raise BadArtifact(
            f"the engine has the outputs {', '.join(found)}, and the manifest names "
            f"{', '.join(wanted)}; rebuild it"
        )
    return found if wanted is None else wanted
