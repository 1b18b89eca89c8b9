"""Picture files of every kind that zoo-run and Python read, and of some that they refuse."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""The colour types of PNG."""
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
_WHOLE = [(0, 0, 1, 1)]
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
_ADAM7 += [(0, 1, 1, 2)]
_ORIENTATION = 0x0112
XMP = b'<rdf:Description tiff:Orientation="6"/>'


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG, with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    samples: np.ndarray,
    depth: int,
    colour: int,
    *,
    interlaced: bool = False,
    before: Iterable[bytes] = (),
    after: Iterable[bytes] = (),
    size: tuple[int, int] | None = None,
) -> bytes:
    """A PNG of `samples` (H, W, C), each below 2**depth; other chunks before and after the pixels.

    `size` is the width and height that the header claims.
    """
    height, width, _ = samples.shape
    rows = []
    for left, top, across, down in _ADAM7 if interlaced else _WHOLE:
        part = samples[top::down, left::across]
        rows += [b"\0" + _packed(row, depth) for row in part if row.size]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), depth, colour, 0, 0, interlaced)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    parts = [chunk(b"IHDR", header), *before, pixels, *after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    if depth == 8:
        return row.astype(np.uint8).tobytes()
    bits = (row.reshape(-1, 1) >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def tiff(orientation: int, *, order: str = "<", kind: int = 3, count: int = 1) -> bytes:
    """The TIFF block of EXIF, with a tag before the orientation."""
    width = "H2x" if kind == 3 else "I"
    start = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHII", 0x010F, 2, 1, 0)
    entries += struct.pack(order + "HHI" + width, _ORIENTATION, kind, count, orientation)
    return start + struct.pack(order + "IH", 8, 2) + entries + bytes(4)


def photo(width: int, height: int, channels: int, seed: int = 0) -> np.ndarray:
    """(H, W, C) uint8: smooth shapes with some noise, as of a camera."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 7), max(2, width // 7), channels))
    planes = [Image.fromarray(plane.astype(np.uint8)) for plane in np.moveaxis(coarse, 2, 0)]
    smooth = np.stack([np.asarray(p.resize((width, height))) for p in planes], 2).astype(int)
    return (smooth + rng.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8)


def jpegs(width: int, height: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of JPEG files: all forms, and all orientations."""
    colour = Image.fromarray(photo(width, height, 3))
    yield "baseline.jpg", _saved(colour, "JPEG", quality=90)
    yield "full-colour.jpg", _saved(colour, "JPEG", subsampling=0)
    yield "half-colour.jpg", _saved(colour, "JPEG", subsampling=1)
    yield "progressive.jpg", _saved(colour, "JPEG", progressive=True)
    yield "grey.jpg", _saved(colour.convert("L"), "JPEG")
    yield "cmyk.jpg", _saved(colour.convert("CMYK"), "JPEG")
    for orientation in range(1, 9):
        exif = tiff(orientation, order="<>"[orientation % 2], kind=3 + orientation % 2)
        yield f"turned-{orientation}.jpg", _saved(colour, "JPEG", exif=b"Exif\0\0" + exif)
    for name, exif in {"nine": tiff(9), "two-values": tiff(6, count=2), "no-exif": b"?"}.items():
        yield f"turned-{name}.jpg", _saved(colour, "JPEG", exif=b"Exif\0\0" + exif)
    yield "xmp.jpg", _saved(colour, "JPEG", xmp=XMP)


def pngs(width: int, height: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of PNG files: all colour types and depths, interlaced ones, alpha, EXIF."""
    for colour, depths in (
        (GREY, (1, 2, 4, 8, 16)),
        (RGB, (8, 16)),
        (GREY_ALPHA, (8, 16)),
        (RGBA, (8, 16)),
    ):
        for depth in depths:
            samples = _samples(width, height, _CHANNELS[colour], depth)
            for interlaced in (False, True):
                name = f"{colour}-{depth}{'-interlaced' if interlaced else ''}.png"
                yield name, png(samples, depth, colour, interlaced=interlaced)
    for depth in (1, 2, 4, 8):
        samples = _samples(width, height, 1, depth)
        few = chunk(b"PLTE", photo(2, 1, 3, seed=5).tobytes())
        yield f"short-palette-{depth}.png", png(samples, depth, PALETTE, before=[few])
        palette = chunk(b"PLTE", photo(2**depth, 1, 3, seed=5).tobytes())
        alpha = chunk(b"tRNS", bytes(range(2**depth)))
        yield f"palette-{depth}.png", png(samples, depth, PALETTE, before=[palette])
        yield f"palette-{depth}-alpha.png", png(samples, depth, PALETTE, before=[palette, alpha])
    colour_key, grey_key = chunk(b"tRNS", bytes([0, 9] * 3)), chunk(b"tRNS", bytes([0, 9]))
    samples = _samples(width, height, 3, 8)
    yield "colour-key.png", png(samples, 8, RGB, before=[colour_key])
    yield "grey-key.png", png(samples[:, :, :1], 8, GREY, before=[grey_key])
    yield "exif-before.png", png(samples, 8, RGB, before=[chunk(b"eXIf", tiff(6))])
    yield "exif-behind.png", png(samples, 8, RGB, after=[chunk(b"eXIf", tiff(3, order=">"))])
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    yield "xmp.png", png(samples, 8, RGB, before=[chunk(b"iTXt", text)])
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    yield "gamma.png", png(samples, 8, RGB, before=[gamma])


def _samples(width: int, height: int, channels: int, depth: int) -> np.ndarray:
    values = photo(width, height, channels).astype(int)
    noise = np.random.default_rng(1).integers(0, 257, values.shape)
    return (values * 257 + noise).clip(0, 65_535) >> (16 - depth)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
