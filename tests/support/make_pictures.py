"""Writes tests/data/pictures: small pictures for the C++ tests, which damage them in every way.

python -m tests.support.make_pictures
"""

from __future__ import annotations

from tests.support.layout import ROOT
from tests.support.picture_bytes import jpegs, pngs

FOLDER = ROOT / "tests" / "data" / "pictures"
WIDTH, HEIGHT = 21, 13
CHOSEN = (
    "baseline.jpg",
    "cmyk.jpg",
    "grey.jpg",
    "progressive.jpg",
    "turned-6.jpg",
    "xmp.jpg",
    "0-16-interlaced.png",
    "2-16.png",
    "6-8.png",
    "exif-behind.png",
    "palette-2-alpha.png",
    "palette-8.png",
    "xmp.png",
)


def main() -> None:
    """Write the files; those of another version of libjpeg may have other bytes."""
    FOLDER.mkdir(exist_ok=True)
    files = dict([*jpegs(WIDTH, HEIGHT), *pngs(WIDTH, HEIGHT)])
    for name in CHOSEN:
        (FOLDER / name).write_bytes(files[name])


if __name__ == "__main__":
    main()
