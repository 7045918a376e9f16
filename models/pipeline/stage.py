"""One stage of a pipeline: it makes its calls of every chunk that comes by."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ..batch_shape import batch_shape, go_back, marks_of
from ..small_snapshots import SavesSmall, rebuild_chunks, small_snapshot
from ..staged_model import ChunkPlan, Row, StagedModel, decode_chunk, denoise_filled
from ..state import DecoderState
from ..student.student_cache import StudentCache
from .frame_arena import FrameArena
from .heartbeat import Heartbeat
from .links import Links
from .messages import Assign, Batch, Open, Refused, Restore, Save, Step, WorkSpan
from .package import Package
from .part_file import Part, bytes_of, in_message, opened, pack_bytes
from .snapshot_parts import (
    DECODER,
    PREPARE,
    RETURNS,
    cache_part,
    decoder_part,
    load_cache,
    load_decoder,
    load_returns,
    no_part,
    parts_of,
    refilled_cache,
    returns_part,
    shown_decoder,
    small_cache_part,
    small_decoder_part,
    snapshot_of_cache,
)
from .stage_loop import StageLoop
from .stage_plan import StagePlan


@dataclass(slots=True)
class _Kept:
    """What this stage keeps of a stream: caches of its calls; on stage 0 the model's state.

    `returns` are clean latents that chunks to come need, kept where the last step is. On stage 0
    `awaited` are the chunks that need some, and `waiting` what cannot be admitted before they are
    there. `decoder` is used where the stream is decoded. `clean_pass` is the work on the last chunk
    that came after it was handed on, which the next one tells of.
    """

    state: Any = None
    caches: dict[int, StudentCache] = field(default_factory=dict)
    decoder: DecoderState = field(default_factory=DecoderState)
    returns: dict[int, Tensor] = field(default_factory=dict)
    next_index: int = 0
    awaited: set[int] = field(default_factory=set)
    waiting: deque[Step] = field(default_factory=deque)
    clean_pass: tuple[WorkSpan, ...] = ()


class Stage(StageLoop):
    """The work of one rank under a plan."""

    def __init__(
        self,
        rank: int,
        model: StagedModel[Any],
        heartbeat: Heartbeat,
        links: Links | None,
        arena: FrameArena | None = None,
    ) -> None:
        super().__init__(heartbeat, arena)
        self._rank = rank
        self._model = model
        self._steps = model.chunk_steps
        self._links = links
        self._plan: StagePlan | None = None
        self._plan_number = 0
        self._streams: dict[str, _Kept] = {}

    def _do(self, message: object) -> None:
        match message:
            case Package() if message.plan_number != self._plan_number:
                # from a stage that did not know the newer plan yet; its stream is forgotten
                pass
            case Package() if message.returns is not None:
                self._take_back(message.stream, message.returns, message.latents)
            case Package():
                self._pass(message)
            case _:
                super()._do(message)

    @property
    def _has_streams(self) -> bool:
        return bool(self._streams)

    def _assign(self, message: Assign) -> None:
        self._plan, self._plan_number = message.plan, message.number
        self._streams.clear()
        if self._links is not None and self._rank < message.plan.stages:
            for source in message.plan.inlets(self._rank):
                self._links.listen(source, self.receive)

    def _open(self, message: Open) -> None:
        state = self._model.start(message.request)
        # those of this stage's calls are made when they are used, and no others
        state.caches = []
        self._streams[message.stream] = _Kept(state)

    @property
    def _own_calls(self) -> tuple[int, ...]:
        assert self._plan is not None, "a plan comes first"
        return self._plan.steps[self._rank] if self._rank < self._plan.stages else ()

    @property
    def _own_caches(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys(self._steps.calls[call].cache for call in self._own_calls))

    def _step(self, message: Step) -> None:
        kept = self._streams.get(message.stream)
        if kept is not None:
            kept.waiting.append(message)
            self._admit_waiting(kept)

    def _admit_waiting(self, kept: _Kept) -> None:
        """Admit what waits, up to a chunk that needs latents which are still under way."""
        while kept.waiting and kept.next_index not in kept.awaited:
            self._admit(kept, kept.waiting.popleft())

    def _take_back(self, stream: str, needed_by: int, latents: Tensor | None) -> None:
        """Clean latents that the preparation of a chunk to come needs."""
        kept = self._streams.get(stream)
        # without a state it was closed, and only its last chunks still come by
        if kept is not None and kept.state is not None and latents is not None:
            kept.state.returns[needed_by] = latents
            kept.awaited.discard(needed_by)
            self._admit_waiting(kept)

    def _admit(self, kept: _Kept, message: Step) -> None:
        package = self._prepared(kept, message)
        if package is not None:
            self._pass(package)

    def _batch(self, message: Batch) -> None:
        """Chunks of one shape are one batch; what else there is is made alone, and first."""
        alike: dict[Hashable, list[Package]] = defaultdict(list)
        for step in message.steps:
            kept = self._streams.get(step.stream)
            if kept is None:
                continue
            if kept.waiting or kept.next_index in kept.awaited:
                self._step(step)
                continue
            package = self._prepared(kept, step)
            if package is None:
                continue
            shape = batch_shape(_plan_of(package), list(kept.caches.values()))
            if shape is None or self._own_calls != tuple(range(len(self._steps.calls))):
                self._pass(package)
            else:
                alike[shape].append(package)
        for packages in alike.values():
            if len(packages) == 1:
                self._pass(packages[0])
            else:
                self._pass_batch(packages)

    def _pass_batch(self, packages: Sequence[Package]) -> None:
        """All calls of these chunks as batches, each chunk decoded by itself.

        If that fails, each is made alone: the one at fault is noticed, and no other one is lost.
        """
        # of many at once nobody is to blame
        self._heartbeat.work_for()
        rows = [(each, self._streams[each.stream]) for each in packages]
        caches = [cache for _, kept in rows for cache in kept.caches.values()]
        marks = marks_of(caches)
        try:
            made = self._call_batch(rows, range(self._steps.steps))
        except Exception:
            go_back(caches, marks)
            for package in packages:
                self._pass_alone(package)
            return
        rows = [(package, kept) for package, (_, kept) in zip(made, rows, strict=True)]
        for package, kept in rows:
            plan = _plan_of(package)
            self._heartbeat.work_for(package.stream, plan.index)
            self._keep_returns(package.stream, kept, plan, package.latents)
            self._decode(package, plan, kept)
        self._heartbeat.work_for()
        self._call_batch(rows, range(self._steps.steps, len(self._steps.calls)))
        for package, kept in rows:
            plan = _plan_of(package)
            if package.snapshot:
                self._save_caches(package.stream, plan.index, kept)
            if package.small:
                self._save_pasts(package.stream, plan.index, kept)

    def _pass_alone(self, package: Package) -> None:
        """Of a batch that failed; what the model refuses of it is one stream's alone."""
        try:
            self._pass(package)
        except ValueError as error:
            self._heartbeat.send(Refused(package.stream, str(error)))

    def _call_batch(
        self, rows: Sequence[tuple[Package, _Kept]], calls: Iterable[int]
    ) -> list[Package]:
        """The packages behind these calls, each made once for all of them."""
        packages = [replace(package, rows=len(rows)) for package, _ in rows]
        for number in calls:
            call = self._steps.calls[number]
            begin_s = time.monotonic()
            with self._heartbeat.busy():
                made = self._model.denoise(
                    [
                        Row(_plan_of(package), number, package.latents, kept.caches[call.cache])
                        for package, (_, kept) in zip(packages, rows, strict=True)
                    ]
                )
            name = "clean pass" if call.clean_pass else f"step {number}"
            span = WorkSpan(self._rank, name, begin_s, time.monotonic())
            packages = [
                replace(
                    package,
                    latents=latents,
                    calls_done=package.calls_done + 1,
                    spans=(*package.spans, span),
                )
                for package, latents in zip(packages, made, strict=True)
            ]
        return packages

    def _prepared(self, kept: _Kept, message: Step) -> Package | None:
        """A chunk's package before its first call; None: it was refused."""
        self._heartbeat.work_for(message.stream, kept.next_index)
        begin_s = time.monotonic()
        try:
            with self._heartbeat.busy():
                plan = self._model.prepare(kept.state, message.controls)
                plan.check(len(self._steps.calls))
        except ValueError as error:
            self._heartbeat.send(Refused(message.stream, str(error)))
            return None
        kept.next_index = plan.index + 1
        if plan.needed_by is not None:
            kept.awaited.add(plan.needed_by)
        if message.snapshot:
            self._save_state(message.stream, plan.index, kept)
        if message.small:
            self._save(
                message.stream,
                plan.index,
                lambda: {PREPARE: pack_bytes(small_snapshot(self._model, kept.state), in_message)},
                small=True,
            )
        span = WorkSpan(self._rank, "prepare", begin_s, time.monotonic())
        return Package(
            message.stream,
            plan,
            snapshot=message.snapshot,
            small=message.small,
            spans=(span,),
            rows=message.rows,
        )

    def _pass(self, package: Package) -> None:
        """Do this stage's part of a chunk and hand it on."""
        assert self._plan is not None, "a plan comes first"
        plan = package.plan
        if plan is None:
            self._close(package.stream)
            return
        self._heartbeat.work_for(package.stream, plan.index)
        kept = self._streams.setdefault(package.stream, _Kept())
        mine = self._own_calls if package.calls_done < len(self._steps.calls) else ()
        clean_pass = [call for call in mine if self._steps.calls[call].clean_pass]
        if mine:
            package = replace(package, spans=(*kept.clean_pass, *package.spans))
        package = self._denoise(package, plan, kept, mine[: len(mine) - len(clean_pass)])
        # Behind the last step the frames need no clean pass: they go before it. From a GPU, where
        # both are only queued, they come while the clean pass is made.
        self._hand_on(replace(package, calls_done=package.calls_done + len(clean_pass)), plan, kept)
        if clean_pass:
            done = self._denoise(package, plan, kept, clean_pass)
            kept.clean_pass = done.spans[len(package.spans) :]
        if mine and package.snapshot:
            self._save_caches(package.stream, plan.index, kept)
        if mine and package.small:
            self._save_pasts(package.stream, plan.index, kept)

    def _hand_on(self, package: Package, plan: ChunkPlan, kept: _Kept) -> None:
        """To the next stage, the decoder, or out."""
        assert self._plan is not None, "a plan comes first"
        done = package.calls_done == len(self._steps.calls)
        decodes_here = done and self._rank == self._plan.decoder
        to = None if decodes_here else self._plan.outlet(self._rank)
        if to is None:
            self._decode(package, plan, kept)
        else:
            self._send(to, package)

    def _denoise(
        self, package: Package, plan: ChunkPlan, kept: _Kept, calls: Sequence[int]
    ) -> Package:
        """The package behind these calls."""
        latents, spans = package.latents, list(package.spans)
        for number in calls:
            call = self._steps.calls[number]
            if call.cache not in kept.caches:
                kept.caches[call.cache] = self._model.new_cache()
            begin_s = time.monotonic()
            with self._heartbeat.busy():
                row = Row(plan, number, latents, kept.caches[call.cache])
                (latents,) = denoise_filled(self._model, [row], package.rows)
            name = "clean pass" if call.clean_pass else f"step {number}"
            spans.append(WorkSpan(self._rank, name, begin_s, time.monotonic()))
            self._let_go()
            if number == self._steps.steps - 1:
                self._keep_returns(package.stream, kept, plan, latents)
        done = package.calls_done + len(calls)
        return replace(package, latents=latents, calls_done=done, spans=tuple(spans))

    def _keep_returns(
        self, stream: str, kept: _Kept, plan: ChunkPlan, latents: Tensor | None
    ) -> None:
        """Behind the last step: send latents back for the preparation of the chunk that needs
        them."""
        for gone in [chunk for chunk in kept.returns if chunk <= plan.index]:
            del kept.returns[gone]
        if plan.needed_by is None or latents is None:
            return
        kept.returns[plan.needed_by] = latents
        if self._rank == 0:
            self._take_back(stream, plan.needed_by, latents)
        else:
            self._send(0, Package(stream, None, latents, returns=plan.needed_by))

    def _decode(self, package: Package, plan: ChunkPlan, kept: _Kept) -> None:
        assert package.latents is not None, "decoding comes after a step"
        shown = not self._is_dropped(package.stream, plan.index)
        begin_s = time.monotonic()
        with self._heartbeat.busy():
            chunk = decode_chunk(self._model, plan, package.latents, kept.decoder, shown=shown)
        span = WorkSpan(self._rank, "decode", begin_s, time.monotonic())
        self._tell(package.stream, plan.index, chunk, (*package.spans, span), package.rows)
        if package.snapshot:
            self._save_decoder(package.stream, plan.index, kept)
        if package.small:
            self._save(
                package.stream,
                plan.index,
                lambda: {DECODER: self._small_decoder(kept.decoder)},
                small=True,
            )

    def _save_state(self, stream: str, index: int, kept: _Kept) -> None:
        room = self._room(stream, index, PREPARE)
        self._save(
            stream, index, lambda: {PREPARE: pack_bytes(self._model.snapshot(kept.state), room)}
        )

    def _save_decoder(self, stream: str, index: int, kept: _Kept) -> None:
        room = self._room(stream, index, DECODER)
        self._save(stream, index, lambda: {DECODER: decoder_part(kept.decoder, room)})

    def _save_caches(self, stream: str, index: int, kept: _Kept) -> None:
        def save() -> dict[str, Part]:
            parts: dict[str, Part] = {}
            for k, cache in kept.caches.items():
                name = snapshot_of_cache(k)
                parts[name] = cache_part(cache, self._room(stream, index, name))
            if self._steps.steps - 1 in self._own_calls:
                room = self._room(stream, index, RETURNS)
                parts[RETURNS] = returns_part(kept.returns, room)
            return parts

        self._save(stream, index, save)

    def _save_pasts(self, stream: str, index: int, kept: _Kept) -> None:
        def save() -> dict[str, Part]:
            parts = {snapshot_of_cache(k): self._small_cache(c) for k, c in kept.caches.items()}
            if self._steps.steps - 1 in self._own_calls:
                parts[RETURNS] = returns_part(kept.returns, in_message)
            return parts

        self._save(stream, index, save, small=True)

    def _small_cache(self, cache: StudentCache) -> Part:
        if not isinstance(self._model, SavesSmall):
            return cache_part(cache, in_message)
        return no_part() if rebuild_chunks(self._model) else small_cache_part(cache)

    def _small_decoder(self, state: DecoderState) -> Part:
        saves_small = isinstance(self._model, SavesSmall)
        return small_decoder_part(state) if saves_small else decoder_part(state, in_message)

    def _save(
        self,
        stream: str,
        index: int,
        save: Callable[[], Mapping[str, Part]],
        *,
        small: bool = False,
    ) -> None:
        self._hand_over(stream, index, save, parts_of(self._steps.caches), small=small)

    def _save_now(self, message: Save) -> None:
        assert self._plan is not None, "a plan comes first"
        stream, index = message.stream, message.index
        kept = self._streams.get(stream)
        if kept is None:
            return
        if self._rank == 0:
            self._save_state(stream, index, kept)
        if self._own_calls:
            self._save_caches(stream, index, kept)
        if self._rank == self._plan.decoder:
            self._save_decoder(stream, index, kept)

    def _close(self, stream: str) -> None:
        assert self._plan is not None, "a plan comes first"
        known = self._streams.pop(stream, None) is not None
        self._dropped.pop(stream, None)
        self._forget_saved(stream)
        to = self._plan.outlet(self._rank)
        # A decoder on an earlier stage would send it round for ever.
        if to is not None and known:
            self._send(to, Package(stream, None))

    def _send(self, to: int, package: Package) -> None:
        assert self._links is not None, "more than one stage"
        self._links.send(to, replace(package, plan_number=self._plan_number))

    def _restore(self, message: Restore) -> None:
        assert self._plan is not None, "a plan comes first"
        parts = opened(message.parts)
        kept = _Kept()
        if self._rank == 0:
            kept.state = self._model.restore(bytes(bytes_of(parts[PREPARE])))
            kept.state.caches = []
            kept.next_index = message.next_index
            kept.state.returns |= load_returns(parts[RETURNS])
        if self._steps.steps - 1 in self._own_calls:
            kept.returns = load_returns(parts[RETURNS])
        small = message.small and isinstance(self._model, SavesSmall)
        if self._rank == self._plan.decoder:
            part = parts[DECODER]
            kept.decoder = shown_decoder(self._model, part) if small else load_decoder(part)
        for cache in self._own_caches:
            part = parts[snapshot_of_cache(cache)]
            kept.caches[cache] = (
                refilled_cache(self._model, part)
                if small
                else load_cache(self._model.new_cache(), part)
            )
        self._streams[message.stream] = kept


def _plan_of(package: Package) -> ChunkPlan:
    assert package.plan is not None, "it is no end of a stream"
    return package.plan
