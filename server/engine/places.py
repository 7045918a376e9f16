"""Places for streams: how many there are, who gets one, and who loses his to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ...models.contract import ModelInfo
from ..config import ServerConfig
from ..logs import logger
from ..protocol.errors import Capacity
from .hosted_model import LOADING_RETRY_S, HostedModel
from .hosted_stream import HostedStream
from .scheduler import RETRY_S, AllTaken, ModelLoad, admit, capacity, free_places
from .stream_keeper import StreamKeeper
from .unwatched import longest_unwatched

SOON_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Room for one more stream of a model, held until it is opened; `client` is its quota's."""

    model: HostedModel
    info: ModelInfo
    client: str


class Places:
    """The places that these models have, as measured of late."""

    def __init__(
        self,
        config: ServerConfig,
        hosted: Mapping[str, HostedModel],
        keeper: StreamKeeper,
        park: Callable[[float], bool],
    ) -> None:
        """`park` is whether a stream that stands still is about to give up its place."""
        self._config = config
        self._hosted = hosted
        self._keeper = keeper
        self._park = park
        self._reserved: list[Place] = []
        """Of streams that are being opened."""
        self._log = logger("rollcast.engine")

    @property
    def total(self) -> int:
        """How many streams fit in all."""
        if self._config.max_sessions is not None:
            return self._config.max_sessions
        return min(
            (
                self._spared(model, capacity(model.load)) if model.is_sure else 1
                for model in self._hosted.values()
                if model.load is not None
            ),
            default=0,
        )

    @property
    def free(self) -> int:
        """How many more streams would be admitted now, of the model that takes the most."""
        open_ = (model for model in self._hosted.values() if self._lets_in(model))
        usable = [model for model in open_ if model.condition == "ready"]
        running, limit = self._running_loads(), self._config.max_sessions
        if self._is_guessed(usable):
            return 0 if running else 1
        return max((self._free(model, running, limit) for model in usable), default=0)

    def _free(self, model: HostedModel, running: list[ModelLoad], limit: int | None) -> int:
        if model.load is None:
            return 0
        free = free_places(model.load, running, max_sessions=limit)
        beside = self._beside(model)
        return free if limit is not None else self._spared(model, beside + free) - beside

    def _spared(self, model: HostedModel, streams: int) -> int:
        """Of so many that are in time, those that cost each other nothing; one in any case."""
        return streams if self._config.keep_quality else model.places(streams)

    def hold(self, model: HostedModel, client: str, now_s: float) -> Place:
        """Hold a place of a model that is ready until it is released.

        Where all places are taken, a stream that stands still is parked, for who asks next, or one
        that nobody watches loses its own. `client` is whose
        quota it counts for. Raises AllTaken if there is none, and Capacity for other reasons.
        """
        self._make_room(model, now_s)
        assert model.info is not None, "the model is ready"
        place = Place(model, model.info, client)
        self._reserved.append(place)
        return place

    def release(self, place: Place) -> None:
        """Hold it no longer, if it is held."""
        if place in self._reserved:
            self._reserved.remove(place)

    def check_quota(self, client: str, waiting: int) -> None:
        """Raise Capacity if a client, of whose `waiting` stand in line, has all that it may."""
        most = self._config.max_per_client
        streams = (*self._keeper.streams, *self._reserved)
        mine = waiting + sum(each.client == client for each in streams)
        if most is not None and mine >= most:
            raise Capacity(
                f"one client may have {most} streams at once, and has them",
                hint="Close one of your streams first, or let it end.",
                retry_after_s=RETRY_S,
            )

    def _make_room(self, model: HostedModel, now_s: float) -> None:
        assert model.load is not None, "the model is ready"
        if self._is_guessed((model,)) and self._running_loads():
            raise AllTaken("how many streams fit is not known yet", retry_after_s=SOON_S)
        if not self._lets_in(model):
            raise AllTaken("the server is too busy for another stream", retry_after_s=RETRY_S)
        try:
            self._admit(model.load, now_s)
        except AllTaken:
            if self._park(now_s):
                raise AllTaken(
                    "all places are taken, and one is about to come free", retry_after_s=SOON_S
                ) from None
            idle = longest_unwatched(self._placed, now_s, self._config.unwatched_s)
            if idle is None:
                raise
            self._give_up(idle)
            self._admit(model.load, now_s)
        if model.host.behind:
            raise Capacity("too many streams were opened at once", retry_after_s=LOADING_RETRY_S)

    def _lets_in(self, model: HostedModel) -> bool:
        """Whether the model's streams would lose nothing to another one."""
        if self._config.keep_quality or model.ladder is None:
            return True
        if self._config.max_sessions is not None:
            # how many fit was said, not measured
            return model.ladder.takes_new
        return model.admits_beside(self._beside(model))

    def _is_guessed(self, models: Iterable[HostedModel]) -> bool:
        """Whether it is not known yet what a stream of these models takes, or of those that run."""
        if self._config.max_sessions is not None:
            return False
        names = {stream.model for stream in self._placed}
        names |= {place.model.name for place in self._reserved} | {each.name for each in models}
        return not all(self._hosted[name].is_sure for name in names)

    def _beside(self, model: HostedModel) -> int:
        """How many streams of a model there are, with those that are being opened."""
        reserved = sum(place.model is model for place in self._reserved)
        return reserved + sum(stream.model == model.name for stream in self._placed)

    @property
    def _placed(self) -> list[HostedStream]:
        """The streams that have a place: all but those that are parked."""
        return [stream for stream in self._keeper.streams if stream.parked is None]

    def _admit(self, load: ModelLoad, now_s: float) -> None:
        frees = [stream.session.expires_in_s(now_s) for stream in self._placed]
        admit(
            load,
            self._running_loads(),
            max_sessions=self._config.max_sessions,
            frees_in_s=min((each for each in frees if each is not None), default=None),
        )

    def _running_loads(self) -> list[ModelLoad]:
        """What each stream asks of the machine, and each that is being opened."""
        loads = {name: model.load for name, model in self._hosted.items()}
        names = [stream.model for stream in self._placed]
        running = (loads[name] for name in names + [place.model.name for place in self._reserved])
        return [load for load in running if load is not None]

    def _give_up(self, stream: HostedStream) -> None:
        """Take the place of a stream that nobody watches; its connection says why."""
        limit_s = self._config.unwatched_s
        stream.session.fail(
            Capacity(
                f"nothing was watched or said for {limit_s:g} s, and somebody else waited",
                hint="Open a stream again when somebody watches it.",
                retry_after_s=RETRY_S,
            )
        )
        stream.notify()
        self._log.info("session gave its place to another", session_id=stream.session_id)
        self._keeper.close(stream.session_id)
