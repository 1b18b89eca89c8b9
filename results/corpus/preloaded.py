"""Imported once, before the processes of all rows are forked: imports take time."""

from __future__ import annotations

from importlib import import_module

from results.corpus import row
from results.corpus.timm_choice import import_timm

__all__ = ["row"]

for _name in ("torch._dynamo", "torch.export", "onnx.reference", "onnxscript", "onnxsim"):
    import_module(_name)
import_timm()
