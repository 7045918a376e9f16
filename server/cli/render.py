"""`rollcast render`: an MP4 from a script of controls, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeRemainingColumn

from ...client.audio_file import load_speech
from ...client.camera_move import MOVES, camera_move
from ...client.mp4 import Mp4Writer
from ...client.picture_file import load_image, load_picture
from ...client.track_file import TrackScript, load_script
from ...client.video_frames import video_frames
from ...client.wire import AUDIO_RATE
from ...models.contract import CameraMotion, Chunk, ModelInfo, StreamRequest
from ...models.own_models import DEFAULT_MODEL
from ...models.registry import load_model
from .failure import as_failure
from .frame_size import parse_size
from .offline import check_inputs, frame_count, generate
from .options import (
    Attention,
    Audio,
    Camera,
    Decoder,
    Device,
    DType,
    Encoder,
    Image,
    Lookahead,
    Picture,
    Prompt,
    PromptAt,
    Quantize,
    Scene,
    SecondsOrSpeech,
    Seed,
    Size,
    Steps,
    Threads,
    Tracks,
    VideoIn,
    Weights,
    warn,
    warn_ignored,
)
from .place_face import place_face
from .prompt_times import with_prompts
from .step_list import parse_steps
from .video_file import VOICE_RATE, Overwrite, Video, video_file, write_picture


def render(
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    model: Annotated[str, typer.Option(help="A name of `rollcast models`.")] = DEFAULT_MODEL,
    scene: Scene = None,
    picture: Picture = None,
    image: Image = None,
    prompt: Prompt = None,
    prompt_at: PromptAt = None,
    audio: Audio = None,
    tracks: Tracks = None,
    camera: Camera = None,
    video_in: VideoIn = None,
    seconds: SecondsOrSpeech = None,
    seed: Seed = 0,
    weights: Weights = None,
    size: Size = None,
    device: Device = None,
    dtype: DType = None,
    quantize: Quantize = None,
    attention: Attention = None,
    steps: Steps = None,
    decoder: Decoder = None,
    encoder: Encoder = None,
    lookahead: Lookahead = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a video of a model that is run here, without a server."""
    with as_failure():
        script = load_script(tracks) if tracks else TrackScript()
        script = with_prompts(script, prompt_at or ())
        own = load_picture(picture) if picture else None
        start = load_image(image) if image else None
    inputs = (audio, tracks, picture, image, video_in)
    with video_file(out, overwrite=overwrite, inputs=inputs) as video:
        engine = load_model(
            model,
            threads=threads,
            weights=weights or (),
            size=None if size is None else parse_size(size),
            device=device,
            dtype=dtype,
            quantize=quantize,
            attention=attention,
            steps=None if steps is None else parse_steps(steps),
            decoder=None if decoder is None else str(decoder),
            encoder=None if encoder is None else str(encoder),
            lookahead_ms=lookahead,
        )
        rate = engine.info.sample_rate or AUDIO_RATE
        speech = load_speech(audio, rate=rate, tell=warn) if audio else np.zeros(0, np.int16)
        if own is not None and picture is not None:
            own = place_face(own, engine.info.inputs.picture, picture)
        taken = engine.info.inputs.names
        others = {"picture": own, "image": start, "camera": camera, "video": video_in}
        check_inputs(model, taken, speech, script, **others)
        request = StreamRequest(seed=seed, scene=scene, prompt=prompt, picture=own, image=start)
        state = engine.start(request)
        frames = frame_count(engine.info, seconds, speech)
        looks_at = engine.info.inputs.video
        chunks = generate(
            engine,
            state,
            frames,
            speech,
            script,
            camera=None if camera is None else _motion(camera),
            video=None
            if video_in is None or looks_at is None
            else video_frames(
                video_in, width=looks_at.width, height=looks_at.height, fps=looks_at.fps
            ),
        )
        start_s = perf_counter()
        heard = None if audio is None else _heard(load_speech(audio, rate=VOICE_RATE), engine.info)
        made = _write(video, engine.info, chunks, frames, heard)
    took_s, lasts_s = perf_counter() - start_s, made / engine.info.fps
    Console(stderr=True, soft_wrap=True).print(
        f"{out}: {lasts_s:.1f} s of video in {took_s:.1f} s ({lasts_s / took_s:.1f} x real time)",
        markup=False,
    )


def _motion(camera: str) -> CameraMotion:
    moves = camera_move(camera)
    right, down, forward, pitch, yaw, roll = (moves.get(name, 0.0) for name in MOVES)
    return CameraMotion((right, down, forward), (pitch, yaw, roll))


def _heard(speech: np.ndarray, info: ModelInfo) -> np.ndarray:
    """What is heard in the film from its begin on: nothing waits but the model's look-ahead."""
    return np.concatenate((np.zeros(info.lookahead_ms * VOICE_RATE // 1000, np.int16), speech))


def _write(
    video: Video, info: ModelInfo, stream: Iterable[Chunk], frames: int, heard: np.ndarray | None
) -> int:
    """Write the video, of about so many frames; returns how many it has.

    `heard` is its sound at `VOICE_RATE`; None: that which the model gives.
    """
    seq = 0
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with (
        Mp4Writer(
            video.file,
            width=info.width,
            height=info.height,
            fps=info.fps,
            sample_rate=info.sample_rate if heard is None else VOICE_RATE,
        ) as writer,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        video.writer = writer
        task = progress.add_task(escape(video.file.path.name), total=frames)
        for chunk in stream:
            warn_ignored(chunk.ignored_words)
            sound, end = chunk.audio, seq + len(chunk.pictures)
            if heard is not None:
                sound = heard[seq * VOICE_RATE // info.fps : end * VOICE_RATE // info.fps]
            writer.write_audio(sound, info.media_us(seq))
            for number, picture in enumerate(chunk.pictures, seq):
                write_picture(writer, picture, info.media_us(number))
            seq = end
            progress.update(task, completed=seq)
    return seq
