"""Calls of a student as CUDA graphs: recorded once for each phase of the ring, then replayed.

What a call on one stream does follows from numbers that the host works out, and from tensors that
it brings along. `StepInputs` holds both. Whatever in it is no tensor is the key of a graph, so that
two calls with one key are the same operations; its tensors go to static buffers, which a graph
reads. So a graph stays right through new prompts, seeds, resets and snapshots: those change what
tensors hold. A ring comes round, and with it the keys: Reward Forcing has four, for the two halves
of its window, for the first call of a chunk and for the others.

What is not recorded runs as it always did, and is counted: chunks that fill the window, a key's
first call (kernels are compiled and loaded by it), batches of several rows.
"""

from __future__ import annotations

import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from .call_positions import CachedCall
from .conditioning import Conditions, TextContext
from .config import CacheConfig
from .student_cache import StudentCache

# Of one stream. With chunks of one length there are as many as the ring has phases, times two.
MOST_GRAPHS = 64
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Times:
    """What a student makes of timesteps: `embedding` [B, F, d], and the `modulations` of all layers
    [L, B, F, 6, d] where these are kept; None: to be made from it."""

    embedding: Tensor
    modulations: Tensor | None = None


@dataclass(frozen=True, slots=True)
class StepInputs:
    """All that a call computes from but weights and caches."""

    latents: Tensor
    conditions: Conditions
    times: Times
    context: TextContext
    calls: tuple[CachedCall, ...]


Work = Callable[[StepInputs], Tensor]


class Graph(Protocol):
    """Operations that were recorded once and can be done again on the same memory."""

    def capture(self, work: Callable[[], None]) -> None:
        """Record what `work` does; nothing is computed yet."""
        ...

    def replay(self) -> None:
        """Do it."""
        ...


class CudaGraph:
    """A `Graph` of the current device. `pool` is memory that graphs share, none of which runs
    beside another."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._graph = torch.cuda.CUDAGraph()

    def capture(self, work: Callable[[], None]) -> None:
        """As `Graph.capture`; other threads may go on using the device meanwhile."""
        # Not torch.cuda.graph, which waits for the device and gives its cached memory back.
        current, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                # a capture that went wrong cannot be ended well, and the first error says why
                with suppress(RuntimeError):
                    self._graph.capture_end()
                raise
            self._graph.capture_end()
        current.wait_stream(aside)

    def replay(self) -> None:
        """As `Graph.replay`, on the current stream."""
        self._graph.replay()


@dataclass(eq=False, slots=True, weakref_slot=True)
class _Static:
    """Buffers for the tensors of inputs of one kind, and of which tensors they are copies."""

    buffers: tuple[Tensor, ...]
    held: list[Tensor | None]

    def fill(self, tensors: Sequence[Tensor], fresh: int) -> None:
        """Copy what changed; of the first `fresh`, which others may write to, all."""
        changed = [k for k, each in enumerate(tensors) if k < fresh or self.held[k] is not each]
        torch.ops.aten._foreach_copy_(
            [self.buffers[k] for k in changed], [tensors[k] for k in changed]
        )
        for k in changed:
            self.held[k] = tensors[k]


@dataclass(slots=True)
class _Recorded:
    """A graph, what it reads, and the prediction that it leaves."""

    graph: Graph
    static: _Static
    made: Tensor


@dataclass(slots=True)
class _OfStream:
    """The graphs of a stream by their keys, and keys that were met once, the latest last."""

    graphs: dict[Hashable, _Recorded] = field(default_factory=dict)
    met: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)

    def why_not_yet(self, key: Hashable) -> str | None:
        """Why no graph is made for a key that has none; it is met now."""
        if key in self.met:
            return "enough" if len(self.graphs) == MOST_GRAPHS else None
        self.met[key] = None
        if len(self.met) > _REMEMBERED:
            self.met.popitem(last=False)
        return "new"


class StepGraphs:
    """The graphs of one student's calls, made by `new_graph`; they end with their streams' caches.

    `counts` says how often a call was "captured", "replayed", or made as ever: while the window
    "fills", when its key was "new", in a "batch", because a stream had "enough" graphs, or because
    they are "off". They go off, with a warning, when one cannot be captured.
    """

    def __init__(self, new_graph: Callable[[], Graph]) -> None:
        self.counts: Counter[str] = Counter()
        self._off = False
        self._new_graph = new_graph
        self._streams: WeakKeyDictionary[StudentCache, _OfStream] = WeakKeyDictionary()
        self._statics: WeakValueDictionary[Hashable, _Static] = WeakValueDictionary()

    @classmethod
    def on_cuda(cls) -> StepGraphs:
        """Real ones, which share their memory."""
        pool = torch.cuda.graph_pool_handle()
        return cls(lambda: CudaGraph(pool))

    def __len__(self) -> int:
        """Graphs of all streams."""
        return sum(len(stream.graphs) for stream in self._streams.values())

    def run(self, work: Work, inputs: StepInputs, caches: Sequence[StudentCache]) -> Tensor:
        """What `work` makes of `inputs`, a call on the streams of `caches`."""
        why = self._why_not(caches)
        if why is not None:
            return self._as_ever(why, work, inputs)
        stream = self._streams.setdefault(caches[0], _OfStream())
        key, tensors = taken_apart(inputs)
        recorded = stream.graphs.get(key)
        if recorded is None and (why := stream.why_not_yet(key)) is not None:
            return self._as_ever(why, work, inputs)
        static = self._static_for(tensors) if recorded is None else recorded.static
        static.fill(tensors, _fresh(inputs))
        if recorded is None:
            try:
                recorded = stream.graphs[key] = self._captured(work, inputs, tensors, static)
            except RuntimeError as error:
                warnings.warn(f"no CUDA graphs, every call as it comes: {error}", stacklevel=2)
                self._off = True
                return self._as_ever("off", work, inputs)
        recorded.graph.replay()
        self.counts["replayed"] += 1
        # the next replay writes over it
        return recorded.made.clone()

    def _why_not(self, caches: Sequence[StudentCache]) -> str | None:
        if self._off:
            return "off"
        if len(caches) != 1:
            return "batch"
        return None if caches[0].comes_round else "fills"

    def _as_ever(self, why: str, work: Work, inputs: StepInputs) -> Tensor:
        self.counts[why] += 1
        return work(inputs)

    def _static_for(self, tensors: Sequence[Tensor]) -> _Static:
        """Buffers for tensors like these; graphs share them, because none runs beside another."""
        kind = tuple(_layout(tensor) for tensor in tensors)
        static = self._statics.get(kind)
        if static is None:
            # never inference tensors: they are filled in any mode
            with torch.inference_mode(False):
                buffers = tuple(torch.empty_like(tensor) for tensor in tensors)
            static = self._statics[kind] = _Static(buffers, [None] * len(buffers))
        return static

    def _captured(
        self, work: Work, inputs: StepInputs, tensors: Sequence[Tensor], static: _Static
    ) -> _Recorded:
        places = {id(tensor): k for k, tensor in enumerate(tensors)}
        told, made = _with_tensors(inputs, places, static.buffers), list[Tensor]()
        graph = self._new_graph()
        graph.capture(lambda: made.append(work(told)))
        self.counts["captured"] += 1
        return _Recorded(graph, static, made[0])


def taken_apart(inputs: Any) -> tuple[Hashable, list[Tensor]]:
    """The key of `inputs`, which is all of them but their tensors, and those, each once."""
    found: dict[int, tuple[int, Tensor]] = {}
    return _key_of(inputs, found), [tensor for _, tensor in found.values()]


def _key_of(value: Any, found: dict[int, tuple[int, Tensor]]) -> Hashable:
    if isinstance(value, Tensor):
        return found.setdefault(id(value), (len(found), value))[0], _layout(value)
    if is_dataclass(value):
        return type(value), *(_key_of(getattr(value, each.name), found) for each in fields(value))
    if isinstance(value, tuple):
        return tuple(_key_of(each, found) for each in value)
    return value


def _fresh(inputs: StepInputs) -> int:
    """How many of its tensors, the first ones, are others' to write to: latents and conditions."""
    return len(taken_apart((inputs.latents, inputs.conditions))[1])


def _layout(tensor: Tensor) -> Hashable:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _with_tensors(value: Any, places: dict[int, int], buffers: Sequence[Tensor]) -> Any:
    """`value` with a buffer in the place of each tensor."""
    if isinstance(value, Tensor):
        return buffers[places[id(value)]]
    if is_dataclass(value):
        parts = {
            item.name: _with_tensors(getattr(value, item.name), places, buffers)
            for item in fields(value)
        }
        return type(value)(**parts)  # pyright: ignore[reportCallIssue]
    if isinstance(value, tuple):
        return tuple(_with_tensors(each, places, buffers) for each in value)
    return value


def why_without(cache: CacheConfig, *, joint: bool = False) -> str | None:
    """Why calls on such a cache are not recorded; None: they are. `joint`: by a joint window."""
    if cache.refresh_below is not None:
        return "an adaptive sink's places are numbers of frames: no call comes back"
    if cache.sparse is not None:
        return "sparse attention has blocks chosen anew in each call"
    if joint:
        return "a joint window makes its own calls"
    if not cache.rolling:
        return "its window does not roll: no call comes back"
    return None
