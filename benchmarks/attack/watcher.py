"""A healthy viewer in a process of its own: `python -m ... URL SECONDS` says how long it was dry.

It prints "steady" with its first frame, and a line of JSON at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from time import monotonic

from ...client import connect


async def watch(url: str, seconds: float) -> dict[str, float]:
    """Watch for `seconds`; `dry_s` of them nothing new was there to show.

    Media time runs like a clock while there is something to show, so what it lacks was dry.
    """
    async with connect(
        url, token=os.environ.get("ROLLCAST_TOKEN"), decode=False, wait=False
    ) as stream:
        frames = stream.frames()
        await anext(frames)
        print("steady", flush=True)
        begin_s, begin_us = monotonic(), stream.position_us
        count = 0
        try:
            async with asyncio.timeout(seconds):
                async for _ in frames:
                    count += 1
        except TimeoutError:
            pass
        shown_s = (stream.position_us - begin_us) / 1e6
        return {
            "seconds": monotonic() - begin_s,
            "dry_s": max(0.0, monotonic() - begin_s - shown_s),
            "frames": count,
            "reconnects": stream.reconnects,
        }


def main() -> None:
    """Run as a process: URL SECONDS."""
    print(json.dumps(asyncio.run(watch(sys.argv[1], float(sys.argv[2])))), flush=True)


if __name__ == "__main__":
    main()
