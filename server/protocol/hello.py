"""What the server says about itself: models, codecs and limits, on the socket and over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from ...models.contract import ModelInfo
from . import limits
from .fields import Codec
from .server_messages import (
    Limits,
    ModelDescription,
    PictureGuide,
    SceneInfo,
    ServerHello,
)


def server_version() -> str:
    """The installed version of this package."""
    try:
        return version("rollcast")
    except PackageNotFoundError:
        return "0"


def describe(info: ModelInfo) -> ModelDescription:
    """A model as clients see it."""
    guide = info.picture
    return ModelDescription(
        name=info.name,
        title=info.title,
        width=info.width,
        height=info.height,
        fps=info.fps,
        chunk_frames=info.chunk_frames,
        sample_rate=info.sample_rate,
        lookahead_ms=info.lookahead_ms,
        scenes=[
            SceneInfo(
                name=scene.name,
                title=scene.title,
                kind=scene.kind,
                thumbnail=thumbnail_path(info.name, scene.name) if scene.thumbnail else None,
            )
            for scene in info.scenes
        ],
        prompts=list(info.prompts),
        controls=sorted(info.controls),
        picture=guide
        and PictureGuide(
            size=guide.size, eyes=[list(eye) for eye in guide.eyes], mouth=list(guide.mouth)
        ),
    )


def thumbnail_path(model: str, scene: str) -> str:
    """Where a scene's thumbnail is served."""
    return f"/v1/models/{model}/scenes/{scene}/thumbnail"


def server_hello(models: Iterable[ModelInfo], codecs: Sequence[Codec]) -> ServerHello:
    """The answer to a client's hello."""
    return ServerHello(
        version=limits.PROTOCOL_VERSION,
        server=f"rollcast/{server_version()}",
        models=[describe(info) for info in models],
        codecs=list(codecs),
        limits=Limits(
            max_text_bytes=limits.MAX_TEXT_BYTES,
            max_picture_bytes=limits.MAX_PICTURE_BYTES,
            max_audio_samples=limits.MAX_AUDIO_SAMPLES,
            max_queued_audio_ms=limits.MAX_QUEUED_AUDIO_MS,
            max_prompt_chars=limits.MAX_PROMPT_CHARS,
            max_points=limits.MAX_POINTS,
            max_tracks=limits.MAX_TRACKS,
            messages_per_s=limits.MESSAGES_PER_S,
            ack_interval_ms=limits.ACK_INTERVAL_MS,
        ),
    )
