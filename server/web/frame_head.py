"""The head of a WebSocket frame, for those who write whole messages themselves."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(4096)
def frame_head(size: int, *, is_text: bool = False, masked: bool = False) -> bytes:
    """The head of a frame with a whole message of `size` bytes (RFC 6455, 5.2).

    The mask of a client's message is zero, so that it stays as it is: masks keep what browsers run
    from speaking to proxies in their language, and there have to be none on the way.
    """
    kind, bit = 0x81 if is_text else 0x82, 0x80 if masked else 0
    if size < 126:
        head = bytes((kind, bit | size))
    elif size < 65_536:
        head = bytes((kind, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((kind, bit | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" if masked else head
