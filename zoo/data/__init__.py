"""Data sets by one word. Each is two splits of images, which are loaded, augmented and normalised.

digits                  scikit-learn's, bundled
FOLDER                  a folder of images, with one folder for each class
cifar10, cifar100       fetched once; cifar10:FOLDER reads the files of a folder
synthetic               made on the spot, to measure speed; synthetic:CLASSES:IMAGES

Everything random derives from the seed of a request and the position in it. So the same request
gives the same bits in any process, with any number of workers.
"""

from __future__ import annotations

from zoo.data.augment import Augment, mix, random_erase, random_flip, random_shift
from zoo.data.base import INTERPOLATIONS, Data, Preprocessing, Split, normalise
from zoo.data.cifar import load_cifar
from zoo.data.digits import load_digits_split
from zoo.data.folder import load_folder
from zoo.data.images import read_image
from zoo.data.loading import Request, batches
from zoo.data.memory import MemorySplit
from zoo.data.sets import load, spec_of

__all__ = [
    "INTERPOLATIONS",
    "Augment",
    "Data",
    "MemorySplit",
    "Preprocessing",
    "Request",
    "Split",
    "batches",
    "load",
    "load_cifar",
    "load_digits_split",
    "load_folder",
    "mix",
    "normalise",
    "random_erase",
    "random_flip",
    "random_shift",
    "read_image",
    "spec_of",
]
