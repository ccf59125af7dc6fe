"""Random numbers by their place instead of their turn: Philox4x32-10.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). What is drawn for a row at a
step depends on the seed, the row and the step alone: not on how many rows or steps there are, nor on what was drawn
before. numpy has the 64-bit variant as a generator with a turn of its own; drawing for many places at once needs this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Four random 32-bit words for each counter of four 32-bit words; all are arrays of uint64 that broadcast."""
    a, b, c, d = counter
    low, high = key
    for _ in range(10):
        first, second = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (
            (second >> _HALF) ^ b ^ np.uint64(low),
            second & _LOW,
            (first >> _HALF) ^ d ^ np.uint64(high),
            first & _LOW,
        )
        low, high = (low + _WEYL[0]) & 0xFFFFFFFF, (high + _WEYL[1]) & 0xFFFFFFFF
    return a, b, c, d


def uniform(seed: int, stream: int, first_step: int, steps: int, rows: int, width: int) -> NDArray[np.float64]:
    """Numbers above 0 and below 1, ``[steps, rows, width]``, multiples of 2^-33.

    Args:
        seed: 64 bits.
        stream: what they are for, 8 bits; each has numbers of its own.
        first_step: the number of the first step, up to 2^64.
        steps, rows: how many of them.
        width: numbers for each row of each step, up to 2^24.
    """
    blocks = -(-width // 4)
    block = np.arange(blocks, dtype=np.uint64) + np.uint64(stream << 24)
    row = np.arange(rows, dtype=np.uint64)[:, None]
    step = np.array([(first_step + t) % 2**64 for t in range(steps)], np.uint64)[:, None, None]
    words = philox((block, row, step & _LOW, step >> _HALF), (seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF))
    shape = (steps, rows, blocks)
    joined = np.stack([np.broadcast_to(word, shape) for word in words], -1).reshape(steps, rows, 4 * blocks)
    return (joined[..., :width].astype(np.float64) + 0.5) * 2.0**-32


def normal(seed: int, stream: int, first_step: int, steps: int, rows: int, width: int) -> NDArray[np.float32]:
    """Standard normal numbers ``[steps, rows, width]``; arguments as for :func:`uniform`.

    Pairs of uniform ones (Box and Muller 1958).
    """
    half = -(-width // 2)
    drawn = uniform(seed, stream, first_step, steps, rows, 2 * half)
    radius, angle = np.sqrt(-2.0 * np.log(drawn[..., :half])), 2.0 * np.pi * drawn[..., half:]
    both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return both[..., :width].astype(np.float32)
