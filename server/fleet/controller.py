"""The controller: a named actor of Ray that keeps as many replicas as there have to be.

What it knows it can find again, so it may be lost at any moment: Ray starts another, which asks
Ray for the replicas and them for their streams. Nothing that a viewer sees waits for it.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from ..logs import configure_logs, logger
from .controller_app import Report, create_controller_app
from .directory import LocalDirectory
from .fleet_line import FleetLine
from .ledger import Ledger, Replica
from .scaling import Bounds, Wish, spare, want

NAMESPACE = "rollcast"
NAME = "rollcast-controller"
PREFIX = "replica-"
LOOK_EVERY_S = 0.5
ASK_S = 5.0
START_S = 600.0
"""A replica that is not ready then is given up: it may have to load its model from a slow disk."""
HUNG_S = 20.0
"""A replica that says nothing for so long is given up, though Ray still believes in it."""
GATEWAY_S = 5.0
"""A gateway that says nothing for so long is gone."""
STOP_S = 5.0


class ControllerSettings(msgspec.Struct, frozen=True):
    """What an operator decides; `settings` are those of each replica's `ServerConfig`.

    `bundle` is what Ray reserves for a replica, like `{"GPU": 1}`.
    """

    key: str
    settings: dict[str, Any]
    bundle: dict[str, float]
    least: int = 1
    most: int = 1
    reserve: int = 1
    calm_s: float = 60.0
    grace_s: float = 30.0
    host: str = "127.0.0.1"
    port: int = 0


@dataclass(slots=True)
class _Held:
    """A replica as Ray has it."""

    handle: Any
    since_s: float
    url: str = ""
    draining_since_s: float | None = None
    old: bool = False
    """It is replaced as soon as another one is ready."""


class Controller:
    """All methods but `url` are for the controller's own event loop."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = msgspec.convert(settings, ControllerSettings)
        given = self._settings
        self._bounds = Bounds(given.least, given.most, given.reserve, given.calm_s)
        self._directory: LocalDirectory | None = None
        self._held: dict[str, _Held] = {}
        self.line = FleetLine()
        """Who waits at which gateway."""
        self._gateways: dict[str, tuple[Report, float]] = {}
        self._calm_since_s: float | None = None
        self._url = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting: set[str] = set()
        self._log = logger("rollcast.controller")
        with suppress(RuntimeError):
            # one that Ray starts again is told by nobody to begin
            self._keep(self.start())

    async def start(self) -> str:
        """Begin, once; where it listens."""
        if self._directory is None:
            configure_logs("console", "info")
            self._directory = LocalDirectory(self._settings.key, look_every_s=LOOK_EVERY_S)
            await self._listen()
            await self._find()
            self._keep(self._run())
        while not self._url:
            await asyncio.sleep(0.02)
        return self._url

    async def ping(self) -> str:
        """Where it listens; empty before `start`."""
        return self._url

    # For its HTTP face.

    @property
    def ledger(self) -> Ledger:
        """Replicas and streams."""
        assert self._directory is not None, "it was started"
        return self._directory.ledger

    def now_s(self) -> float:
        """The clock of the ledger."""
        return asyncio.get_running_loop().time()

    def report(self, report: Report) -> list[str]:
        """A gateway speaks; the addresses of the others."""
        now_s = self.now_s()
        self._gateways[report.url] = report, now_s
        self.line.hear(report.url, report.waiting, now_s)
        for session in report.ended:
            self.ledger.release(session)
        self._forget_gateways(now_s)
        return [url for url in self._gateways if url != report.url]

    def status(self) -> dict[str, Any]:
        """All that an operator wants to see."""
        now_s = self.now_s()
        return {
            "controller": self._url,
            "bounds": [self._bounds.least, self._bounds.most],
            "free": self.ledger.total_free(now_s),
            "waiting": len(self.line),
            "gateways": {url: report.streams for url, (report, _) in self._gateways.items()},
            "replicas": [
                {
                    "name": each.name,
                    "url": each.url,
                    "pid": each.pid,
                    "condition": each.condition,
                    "places": each.places,
                    "free": each.free,
                    "streams": len(each.streams),
                    "heard_ago_s": round(now_s - each.heard_s, 1) if each.heard_s else None,
                }
                for each in self.ledger.replicas.values()
            ],
            "starting": sorted(self._starting),
        }

    def drain(self, name: str) -> bool:
        """Empty a replica and let go of it; whether there is such a one."""
        held = self._held.get(name)
        if held is None or not self.ledger.drain(name):
            return False
        held.draining_since_s = held.draining_since_s or self.now_s()
        return True

    def upgrade(self) -> int:
        """Replace every replica, one after the other; how many there are."""
        for held in self._held.values():
            held.old = True
        return len(self._held)

    # Private.

    def _forget_gateways(self, now_s: float) -> None:
        for url, (_, heard_s) in list(self._gateways.items()):
            if now_s - heard_s >= GATEWAY_S:
                del self._gateways[url]
                self.line.forget(url)

    def _keep(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _listen(self) -> None:
        import uvicorn

        from ..web.listener import open_listener

        given = self._settings
        listener = open_listener(given.host, given.port)
        app = create_controller_app(self, given.key)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        self._keep(uvicorn.Server(config).serve(sockets=[listener]))
        self._url = f"http://{given.host}:{listener.getsockname()[1]}"

    async def _find(self) -> None:
        """Those that a controller before this one has started; a while for them to answer."""
        import ray
        import ray.util

        named: Any = await asyncio.to_thread(ray.util.list_named_actors, all_namespaces=True)
        for each in named:
            name = each["name"]
            if each["namespace"] != NAMESPACE or not name.startswith(PREFIX):
                continue
            with suppress(Exception):
                handle = await asyncio.to_thread(ray.get_actor, name, NAMESPACE)
                self._held[name] = _Held(handle, self.now_s())
        if self._held:
            self._log.info("replicas found", names=sorted(self._held))
            # they count, or others would be started in their place
            self._starting |= set(self._held)
            await asyncio.wait([self._keep(self._meet(name)) for name in self._held], timeout=ASK_S)

    async def _meet(self, name: str) -> None:
        """Learn where a replica listens that may not have begun; one that is gone is let go of."""
        while (held := self._held.get(name)) is not None and not held.url:
            with suppress(Exception):  # whether it is gone is for `_look_at`
                self._know(name, await asyncio.wait_for(held.handle.start.remote(), START_S))
            await asyncio.sleep(0.0 if held.url else LOOK_EVERY_S)

    def _know(self, name: str, url: str) -> None:
        assert self._directory is not None, "it was started"
        if url:
            self._held[name].url = url
            self._directory.add(name, url)

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
            except Exception:
                self._log.exception("a turn of the controller failed")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _turn(self) -> None:
        now_s = self.now_s()
        self.ledger.forget(now_s)
        self._forget_gateways(now_s)
        for name, held in list(self._held.items()):
            await self._look_at(name, held, now_s)
        self._replace_old()
        wish = self._wish(now_s)
        if wish.do == "add":
            self._keep(self._add())
        elif wish.do == "drain":
            self._log.info("a replica is not needed", name=wish.name)
            self.drain(wish.name)
            self._calm_since_s = None

    def _wish(self, now_s: float) -> Wish:
        known = list(self.ledger.replicas.values())
        known += [Replica(name, "") for name in self._starting if name not in self.ledger.replicas]
        counted = [each for each in known if not self._is_leaving(each.name)]
        if not spare(counted, self._bounds):
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        calm_s = 0.0 if self._calm_since_s is None else now_s - self._calm_since_s
        return want(counted, len(self.line), self._bounds, calm_s)

    def _is_leaving(self, name: str) -> bool:
        held = self._held.get(name)
        return held is not None and held.draining_since_s is not None

    def _replace_old(self) -> None:
        """One at a time: the oldest goes when there is another one for each that stays."""
        old = [name for name, held in self._held.items() if held.old]
        leaving = [name for name in old if self._is_leaving(name)]
        if not old or leaving or self._starting:
            return
        ready = [each for each in self.ledger.replicas.values() if each.condition == "ready"]
        fresh = [each for each in ready if not self._held[each.name].old]
        if len(fresh) > self._bounds.least - len(old) and fresh:
            self.drain(old[0])
        elif len(ready) < self._bounds.most + 1:
            self._keep(self._add())

    async def _look_at(self, name: str, held: _Held, now_s: float) -> None:
        replica = self.ledger.replicas.get(name)
        silent_s = now_s - max(held.since_s, replica.heard_s if replica is not None else 0.0)
        if replica is None or silent_s > LOOK_EVERY_S * 3:
            gone = await self._is_gone(held)
            limit_s = START_S if replica is None or not replica.heard_s else HUNG_S
            if gone or silent_s > limit_s:
                self._log.warning("a replica is lost", name=name, silent_s=round(silent_s, 1))
                await self._let_go(name)
            return
        if replica.condition == "ready":
            self._starting.discard(name)
        if held.draining_since_s is not None:
            self.ledger.drain(name)
            waited_s = now_s - held.draining_since_s
            parked_over = waited_s > self._settings.grace_s and not replica.attached
            if not replica.streams or parked_over:
                self._log.info("a replica is empty", name=name)
                with suppress(Exception):
                    await asyncio.wait_for(held.handle.stop.remote(), STOP_S)
                await self._let_go(name)

    async def _is_gone(self, held: _Held) -> bool:
        """Whether Ray says so for good; an actor that cannot be reached may be busy."""
        import ray.exceptions

        try:
            failure = await asyncio.wait_for(held.handle.failure.remote(), 1.0)
        except ray.exceptions.ActorUnavailableError:
            return False
        except ray.exceptions.RayActorError:
            return True
        except Exception:
            return False
        if failure:
            self._log.error("a replica failed", reason=failure)
        return bool(failure)

    async def _add(self) -> None:
        """Start a replica in a placement group of its own."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        from .replica import Replica as ReplicaActor

        name = PREFIX + secrets.token_hex(3)
        self._starting.add(name)
        given = self._settings
        try:
            group = await asyncio.to_thread(
                placement_group, [dict(given.bundle)], name=name, lifetime="detached"
            )
            await asyncio.wait_for(group.ready(), START_S)
            strategy = PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=0
            )
            settings = {**given.settings, "name": name, "fleet_key": given.key}
            handle = (
                ray.remote(ReplicaActor)
                .options(
                    name=name,
                    namespace=NAMESPACE,
                    lifetime="detached",
                    num_cpus=0,
                    num_gpus=given.bundle.get("GPU", 0),
                    max_restarts=0,
                    max_task_retries=0,
                    scheduling_strategy=strategy,
                    runtime_env={"env_vars": {"RAY_USE_UVLOOP": "0"}},
                )
                .remote(settings)
            )
            self._held[name] = _Held(handle, self.now_s())
            url = await asyncio.wait_for(handle.start.remote(), START_S)
            self._know(name, url)
            self._log.info("a replica starts", name=name, url=url)
        except Exception as error:
            self._log.error("no replica could be started", name=name, reason=str(error)[:500])
            await self._let_go(name)
            await asyncio.sleep(ASK_S)
        finally:
            if name not in self._held:
                self._starting.discard(name)

    async def _let_go(self, name: str) -> None:
        """End a replica and free what Ray has reserved for it."""
        import ray
        from ray.util import get_placement_group, remove_placement_group

        held = self._held.pop(name, None)
        self._starting.discard(name)
        if self._directory is not None:
            self._directory.remove(name)
        if held is not None:
            with suppress(Exception):
                await asyncio.to_thread(ray.kill, held.handle)
        with suppress(Exception):
            group = await asyncio.to_thread(get_placement_group, name)
            await asyncio.to_thread(remove_placement_group, group)


def controller_actor(settings: ControllerSettings, *, on_head: bool = True) -> Any:
    """The controller of this cluster, started unless there is one; Ray is connected.

    `on_head`: where it stays reachable at its address as long as the cluster lives.
    """
    import ray

    options: dict[str, Any] = {"resources": {"node:__internal_head__": 0.001}} if on_head else {}
    return (
        ray.remote(Controller)
        .options(
            name=NAME,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=0,
            runtime_env={"env_vars": {"RAY_USE_UVLOOP": "0"}},
            **options,
        )
        .remote(msgspec.to_builtins(settings))
    )
