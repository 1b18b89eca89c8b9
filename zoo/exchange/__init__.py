"""Weights to and from other libraries: torchvision's and timm's files, the Hugging Face hub's form.

files.py            a file of weights -> tensors, verified before anything is parsed
preprocessing.py    the preprocessing that belongs to published weights
importing.py        tensors that fit a network -> a run
formats.py          which networks the other libraries have as well
exporting.py        a run -> a file or a folder that their own loaders read
card.py             what the folder says about itself

Neither library is imported, and nothing is fetched.
"""

from __future__ import annotations

from zoo.exchange.exporting import Exported, export_run
from zoo.exchange.formats import FORMATS
from zoo.exchange.importing import Imported, import_weights

__all__ = ["FORMATS", "Exported", "Imported", "export_run", "import_weights"]
