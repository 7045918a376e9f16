"""Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011) in numpy.

Words become normal numbers in integers alone, so that no machine's float arithmetic, fused or not,
has a say: the first bit of a word is the sign, the others look up `normal_table`.
"""

from __future__ import annotations

import numpy as np

from .normal_table import FRACTION_BITS, quantiles

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ROUND = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY = (0x9E3779B9, 0xBB67AE85)


def philox_ref(key: int, stream: int, blocks: int) -> np.ndarray:
    """Words uint32 [blocks, 4] of counters (block, 0, stream, 0) under a `key` of 64 bits."""
    c0 = np.arange(blocks, dtype=np.uint64)
    c1, c2, c3 = np.zeros_like(c0), np.full_like(c0, stream), np.zeros_like(c0)
    keys = [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        first, second = c0 * _ROUND[0], c2 * _ROUND[1]
        k0, k1 = (np.uint64(each) for each in keys)
        c0, c2 = (second >> _SHIFT) ^ c1 ^ k0, (first >> _SHIFT) ^ c3 ^ k1
        c1, c3 = second & _LOW, first & _LOW
        keys = [(each + more) & 0xFFFFFFFF for each, more in zip(keys, _KEY, strict=True)]
    return np.stack((c0, c1, c2, c3), axis=1).astype(np.uint32)


def normals_ref(words: np.ndarray) -> np.ndarray:
    """Normal numbers float32 of `words` uint32, of the same shape."""
    # odd, from 1 to 2^32 - 1: 2^32 times the probability of a larger number
    odd = (words << np.uint32(1)) | np.uint32(1)
    octave = np.full(words.shape, 31, np.int64)
    for bits in (16, 8, 4, 2, 1):
        small = odd < np.uint32(1 << (32 - bits))
        odd = np.where(small, odd << np.uint32(bits), odd)
        octave -= np.where(small, bits, 0)
    row = quantiles()[octave * 8 + (odd >> np.uint32(28) & np.uint32(7)).astype(np.int64)]
    part = (odd >> np.uint32(4) & np.uint32(0xFFFFFF)).astype(np.int64)
    c0, c1, c2, c3 = np.moveaxis(row.astype(np.int64), -1, 0)
    size = c0 + (part * (c1 + (part * (c2 + (part * c3 >> 24)) >> 24)) >> 24)
    made = size.astype(np.float32) * np.float32(2.0**-FRACTION_BITS)
    return np.where(words >> np.uint32(31) == 1, -made, made)


def counter_noise_ref(key: int, stream: int, count: int) -> np.ndarray:
    """`count` normal numbers float32, four of each counter."""
    return normals_ref(philox_ref(key, stream, -(-count // 4))).reshape(-1)[:count]
