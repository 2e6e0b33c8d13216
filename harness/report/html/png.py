"""Pictures as data URIs."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(picture: NDArray[np.uint8]) -> str:
    """A data URI of a grey picture (rows, columns), 0 white and 255 black: ink where weights are kept.

    One bit a pixel where the picture is only black and white, else four: sixteen greys, which is what the
    eye tells apart in a picture of this size.

    Source: ISO/IEC 15948, Portable Network Graphics (PNG), section 11: chunks IHDR, IDAT and IEND.
    """
    height, width = picture.shape
    depth = 1 if np.isin(picture, (0, 255)).all() else 4
    levels = np.rint((255 - picture.astype(np.float64)) / 255 * (2**depth - 1)).astype(np.uint8)
    bits = np.unpackbits(levels[..., None], axis=2)[..., -depth:].reshape(height, width * depth)
    rows = np.packbits(bits, axis=1)
    unfiltered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    file = _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(unfiltered, 9)) + _chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
