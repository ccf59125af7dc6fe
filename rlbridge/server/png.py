"""A picture as PNG, without a library for pictures."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt


def png(frame: npt.NDArray[np.uint8]) -> bytes:
    """A frame ``[height, width, 3]`` as a PNG file (8-bit RGB, no filter). Source: RFC 2083."""
    height, width, _ = frame.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, 0
    rows[:, 1:] = frame.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
