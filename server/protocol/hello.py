"""What the server says about itself: models, codecs and limits, on the socket and over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import get_args

from ...models.contract import ModelInfo, ModelInputs
from . import limits
from .fields import AudioCodec, Codec
from .server_messages import Inputs, Limits, ModelDescription, SceneInfo, ServerHello


@cache
def server_version() -> str:
    """The installed version of this package, which is looked for on the disk once."""
    try:
        return version("rollcast")
    except PackageNotFoundError:
        return "0"


def describe(info: ModelInfo) -> ModelDescription:
    """A model as clients see it."""
    return ModelDescription(
        name=info.name,
        title=info.title,
        width=info.width,
        height=info.height,
        fps=info.fps,
        chunk_frames=info.chunk_frames,
        sample_rate=info.sample_rate,
        inputs=_inputs(info),
    )


def thumbnail_path(model: str, scene: str) -> str:
    """Where a scene's thumbnail is served."""
    return f"/v1/models/{model}/scenes/{scene}/thumbnail"


def server_hello(
    models: Iterable[ModelInfo],
    codecs: Sequence[Codec],
    event_id: str | None = None,
    *,
    max_viewers: int = 0,
    clip_s: float = 0.0,
    may_record: bool = False,
) -> ServerHello:
    """The answer to a client's hello, which may have an `event_id`.

    `max_viewers` may watch a stream beside its own client. Of the last `clip_s` seconds it may
    fetch a clip, and with `may_record` have its stream recorded.
    """
    return ServerHello(
        event_id=event_id,
        version=limits.PROTOCOL_VERSION,
        server=f"rollcast/{server_version()}",
        models=[describe(info) for info in models],
        codecs=list(codecs),
        audio_codecs=list(get_args(AudioCodec)),
        limits=Limits(
            max_text_bytes=limits.MAX_TEXT_BYTES,
            max_picture_bytes=limits.MAX_PICTURE_BYTES,
            max_frame_bytes=limits.MAX_FRAME_BYTES,
            max_audio_ms=limits.MAX_AUDIO_MS,
            max_queued_audio_ms=limits.MAX_QUEUED_AUDIO_MS,
            max_prompt_chars=limits.MAX_PROMPT_CHARS,
            max_points=limits.MAX_POINTS,
            max_items=limits.MAX_ITEMS,
            max_scheduled=limits.MAX_SCHEDULED,
            max_viewers=max_viewers,
            clip_s=clip_s,
            may_record=may_record,
            messages_per_s=limits.MESSAGES_PER_S,
            ack_interval_ms=limits.ACK_INTERVAL_MS,
        ),
    )


def _inputs(info: ModelInfo) -> Inputs:
    """The declared inputs by their names; only scenes look different to a client."""
    taken = {each.name: getattr(info.inputs, each.name) for each in fields(ModelInputs)}
    taken["scenes"] = [
        SceneInfo(
            name=scene.name,
            title=scene.title,
            kind=scene.kind,
            thumbnail=thumbnail_path(info.name, scene.name) if scene.thumbnail else None,
        )
        for scene in info.scenes
    ] or None
    return Inputs(**taken)
