"""What a process holds, for tests that look for what it never lets go of."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from pathlib import Path


async def held() -> dict[str, int]:
    """Of this process, once what is ending has ended."""
    await asyncio.sleep(1.0)
    gc.collect()
    status = Path("/proc/self/status").read_text()
    kb = int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
    return {
        "megabytes": kb // 1024,
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
    }
