"""Imported once, before the processes of all rows are forked: imports take longer than many a row."""

from __future__ import annotations

from results.corpus import row
from results.corpus.timm_choice import import_timm

__all__ = ["row"]

import_timm()
