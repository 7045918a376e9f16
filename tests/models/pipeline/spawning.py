"""A model that starts a program of its own, without closing what it could pass on."""

from __future__ import annotations

import subprocess
import sys

from rollcast.models.test_pattern import TestPattern


class Spawning(TestPattern):
    """As some compilers do at their first use."""

    def __init__(self) -> None:
        super().__init__()
        code = "import time; time.sleep(60)"
        self.child = subprocess.Popen([sys.executable, "-c", code], close_fds=False)
