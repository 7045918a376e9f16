"""A small file that takes long to decode: a progressive JPEG with one scan many times."""

from __future__ import annotations

import io

from PIL import Image

_SCAN, _END = b"\xff\xda", b"\xff\xd9"


def many_scans(side: int, scans: int) -> bytes:
    """A grey JPEG of `side` x `side` pixels whose last scan is there `scans` times."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last, end = data.rindex(_SCAN), data.rindex(_END)
    return data[:last] + data[last:end] * scans + data[end:]
