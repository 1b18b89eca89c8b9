"""Weights to and from other libraries: torchvision, timm and the Hugging Face hub.

files.py            reads a file of weights, and verifies it before anything is parsed
preprocessing.py    finds the preprocessing that belongs to published weights
importing.py        makes a run of tensors that fit a network
formats.py          says which networks the other libraries have too
exporting.py        writes a run as a file or a folder that their own loaders read
card.py             writes the README.md of such a folder

This code imports neither library, and fetches nothing.
"""

from __future__ import annotations

from zoo.exchange.exporting import Exported, export_run
from zoo.exchange.formats import FORMATS
from zoo.exchange.importing import Imported, import_weights

__all__ = ["FORMATS", "Exported", "Imported", "export_run", "import_weights"]
