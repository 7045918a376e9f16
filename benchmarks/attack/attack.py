"""Each attack beside a healthy viewer: how long that was dry, and how the server was meanwhile.

Every attack meets a fresh server with a token, so that none pays for what another left behind.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from ..rounding import rounded
from ..stream.processor_time import OtherLoad
from ..stream.server_process import ServerProcess
from .attacks import ATTACKS, TAKES_PLACES, UNREAD
from .processes import NOTHING, last_line, under_attack, watching

MOST_DRY_S = 0.3
"""Of 22 s: what an attack may cost a healthy viewer."""
PROBE_EVERY_S = 0.5
PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class AttackBenchOptions:
    """What to run."""

    model: str
    attacks: tuple[str, ...] = (NOTHING, *ATTACKS)
    seconds: float = 22.0


@dataclass(frozen=True, slots=True)
class AttackRow:
    """What the viewer and the server had of one attack.

    `health_s` is the longest time that `/health` took, `health_failed` how often it gave no 200;
    `log_lines` and `memory_mb` (1e6 bytes) what the server wrote and grew by meanwhile;
    `other_cores` how many cores programs kept busy that are no part of this.
    """

    attack: str
    dry_s: float
    frames: int
    reconnects: int
    health_s: float
    health_failed: int
    log_lines: int
    memory_mb: float
    other_cores: float


@dataclass(frozen=True, slots=True)
class AttackReport:
    """All of it."""

    model: str
    seconds: float
    rows: list[AttackRow]

    def to_json(self) -> dict[str, object]:
        """The report as plain values, figures to five digits."""
        return {key: rounded(value) for key, value in asdict(self).items()}


def measure(plan: AttackBenchOptions, say: Callable[[str], None]) -> AttackReport:
    """Run the plan; `say` is told what goes on. Raises ServerDied."""
    rows: list[AttackRow] = []
    for name in plan.attacks:
        say(f"{name}, {plan.seconds:g} s")
        rows.append(_measure(plan, name))
    return AttackReport(plan.model, plan.seconds, rows)


@dataclass
class _Health:
    """Looks at `/health` now and then."""

    url: str
    took_s: list[float] = field(default_factory=list)
    failed: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Until it is over."""
        while not self.over.wait(PROBE_EVERY_S):
            begin_s = time.monotonic()
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=PROBE_TIMEOUT_S):
                    pass
            except OSError:
                self.failed += 1
            self.took_s.append(time.monotonic() - begin_s)


def _measure(plan: AttackBenchOptions, name: str) -> AttackRow:
    token = secrets.token_hex(16)
    # those who only take places get what the server gives by its own measure
    places = None if name in TAKES_PLACES else 1 + UNREAD
    with ServerProcess(plan.model, max_sessions=places, token=token) as server:
        server.wait_ready()
        health = _Health(server.url)
        looks = threading.Thread(target=health.look)
        with watching(server.url, plan.seconds, token) as watcher:
            lines, memory_mb = server.log_lines(), server.memory_mb()
            looks.start()
            try:
                with under_attack(name, server.port, token):
                    others = OtherLoad()
                    seen = json.loads(last_line(watcher))
                    other_cores = others.cores()
                    grown_mb = server.memory_mb() - memory_mb
            finally:
                health.over.set()
                looks.join()
        return AttackRow(
            attack=name,
            dry_s=seen["dry_s"],
            frames=int(seen["frames"]),
            reconnects=int(seen["reconnects"]),
            health_s=max(health.took_s, default=0.0),
            health_failed=health.failed,
            log_lines=server.log_lines() - lines,
            memory_mb=grown_mb,
            other_cores=other_cores,
        )
