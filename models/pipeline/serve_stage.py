"""Turns a process into a stage: makes the model, warms it up, measures it, works until the end.

Free of torch until the model brings it in.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeGuard

from ..contract import Model
from ..small_snapshots import rebuild_chunks
from .frame_arena import FrameArena
from .heap import return_unused
from .heartbeat import Heartbeat
from .launchers import Inheritance
from .leisure_measure import LeisureMeasure
from .measure import (
    measure_caches,
    measure_one,
    measure_parts,
    measure_whole,
    measuring_parts,
)
from .messages import Broken, ModelSpec, Ready, Setup, Working
from .stage_loop import LinkLost, StageLoop

if TYPE_CHECKING:
    from ..staged_model import StagedModel
    from .links import Links

_LINK_GRACE_S = 5.0


def serve(heartbeat: Heartbeat, shared: Inheritance) -> None:
    """Be a stage of the executor at the other end until that is gone."""
    setup = heartbeat.receive()
    assert isinstance(setup, Setup), type(setup)
    arena = None if shared.arena is None else FrameArena(shared.arena)
    try:
        links = _links(setup, shared)
        model = make_model(setup.model)
        with _inference_mode():
            loop, ready = _stage(setup, model, links, heartbeat, arena)
            return_unused()
            heartbeat.send(ready)
            heartbeat.listen(loop.receive)
            loop.run()
    except Exception as error:
        working = heartbeat.working
        if isinstance(error, LinkLost):
            # Most likely the stage at the other end was lost: the executor should blame that one,
            # and then ends this process.
            time.sleep(_LINK_GRACE_S)
            working = Working()
        reason = f"{type(error).__name__}: {error}"
        heartbeat.send(Broken(reason, traceback.format_exc(), working.stream, working.index))
        if setup.meeting is not None:
            # it is still on its way to another machine, from where this process is then ended
            time.sleep(_LINK_GRACE_S)
        raise


def _links(setup: Setup, shared: Inheritance) -> Links | None:
    """The links to the other stages, if there are any; the model is then made on this one's GPU."""
    if setup.world == 1:
        return None
    import torch

    from ...kernels.dispatch import hold_no_races
    from .links import Links, NcclGroup, OwnGpu, across_machines, on_this_machine

    if "OMP_NUM_THREADS" not in os.environ:
        # stages would fight for the processors
        torch.set_num_threads(1)
    gpu = OwnGpu.of(setup.rank, setup.world)
    if setup.meeting is not None:
        hold_no_races()
        return Links(across_machines(setup.meeting, setup.rank), gpu)
    nccl = None
    if gpu is not None and gpu.alone and shared.store is not None:
        nccl = NcclGroup(setup.rank, setup.world, shared.store)
    connections = {rank: Connection(fd) for rank, fd in shared.links.items()}
    return Links(on_this_machine(connections), gpu, nccl)


def make_model(spec: ModelSpec) -> Model[Any]:
    """The model that a spec describes. Raises what its factory raises."""
    module, _, name = spec.factory.partition(":")
    return getattr(importlib.import_module(module), name)(**spec.arguments)


def is_staged(model: Model[Any]) -> TypeGuard[StagedModel[Any]]:
    """Whether a model can be taken apart."""
    return hasattr(model, "chunk_steps")


def _stage(
    setup: Setup,
    model: Model[Any],
    links: Links | None,
    heartbeat: Heartbeat,
    arena: FrameArena | None,
) -> tuple[StageLoop, Ready]:
    if not is_staged(model):
        if setup.world > 1:
            raise ValueError(f"{model.info.name} is made in one piece: it cannot run in stages")
        from .whole_stage import WholeStage

        costs = setup.costs or measure_whole(model)
        ready = Ready(
            model.info, costs, rebuild_chunks=rebuild_chunks(model), runs_ahead=_runs_ahead(model)
        )
        return WholeStage(model, heartbeat, arena), ready
    from ..batch_shape import MOST_ROWS, makes_batches
    from .stage import Stage

    stage = Stage(setup.rank, model, heartbeat, links, arena)
    if setup.rank > 0:
        return stage, Ready()
    costs, cache_bytes = setup.costs, 0
    # several stages are given their shares by what was measured
    soon = setup.soon and setup.world == 1 and _is_soon_warm(model)
    if soon:
        stage.leisure = LeisureMeasure(lambda: measuring_parts(model))
    if costs is None:
        costs = measure_one(model) if soon else measure_parts(model)
        cache_bytes = measure_caches(model)
    cuts = model.chunk_steps.cuts
    rows = MOST_ROWS if setup.world == 1 and makes_batches(model) else 1
    return stage, Ready(
        model.info,
        costs,
        cuts,
        rebuild_chunks(model),
        cache_bytes,
        rows,
        _runs_ahead(model),
        measured=not soon,
    )


def _runs_ahead(model: object) -> bool:
    """Whether a model's chunks come before their frames: it has `runs_ahead`, and true."""
    return bool(getattr(model, "runs_ahead", False))


def _is_soon_warm(model: object) -> bool:
    """Whether a model's second chunk takes about as long as later ones: it has `is_soon_warm`."""
    return bool(getattr(model, "is_soon_warm", False))


def _inference_mode() -> AbstractContextManager[object]:
    """torch's inference mode in this thread, if the model brought torch in."""
    torch = sys.modules.get("torch")
    return nullcontext() if torch is None else torch.inference_mode()
