"""A model without weights or torch: a deterministic picture that shows what it was told.

It obeys the same contract as the learned models, so the server, the clients and their tests run
without one. What it paints on 128 x 128 pixels, so that a test can read it back:

- rows 0..7: the frame number since start or reset as 16 squares, most significant bit first,
  white for 1 (`read_barcode`);
- rows 8..23: a flat band in the prompt's colour (`prompt_colour`);
- below: the scene, moving, with its phase taken from the seed, or the stream's own picture;
- centre (64, 88): a dark bar, 40 wide, 4 to 28 high by the level of the audio of that frame;
- a disc of radius 7 at each held track, a square at each anchor.
"""

from __future__ import annotations

import base64
import colorsys
import json
import zlib
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import simplejpeg

from . import picture as pictures
from .contract import (
    PICTURE,
    Chunk,
    Controls,
    ModelInfo,
    ModelInputs,
    PictureGuide,
    PromptInput,
    Scene,
    SpeechInput,
    StreamRequest,
    TrackEvent,
    TracksInput,
)

SIZE = 128
FPS = 25
CHUNK_FRAMES = 4
SAMPLE_RATE = 16_000
CHUNK_SAMPLES = CHUNK_FRAMES * SAMPLE_RATE // FPS
TALKING_RMS = 200.0

_SCENES = (("bars", "Moving bars", "avatar"), ("grid", "Grid", "scene"))
_PROMPTS = ("a red wall", "a blue wall", "a green wall")
_NAMED_HUES = {"red": 0.0, "yellow": 1 / 6, "green": 1 / 3, "cyan": 0.5, "blue": 2 / 3}
_CELL = SIZE // 16
_ROWS, _COLUMNS = np.mgrid[0:SIZE, 0:SIZE]


@dataclass
class Track:
    """A held point in pixels."""

    x: float
    y: float
    anchor: bool = False


@dataclass
class TestPatternState:
    """All that changes in one stream."""

    __test__ = False

    seed: int
    scene: str
    prompt: str
    chunk: int = 0
    frame: int = 0
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    transition_chunks: int = 0
    tracks: dict[int, Track] = field(default_factory=dict)
    pending_audio: np.ndarray = field(default_factory=lambda: np.zeros(CHUNK_SAMPLES, np.int16))
    picture: bytes | None = None


class TestPattern:
    """A `Model` that paints; all its state is in `TestPatternState`."""

    __test__ = False

    def __init__(self) -> None:
        self.info = ModelInfo(
            name="test-pattern",
            title="Test pattern",
            width=SIZE,
            height=SIZE,
            fps=FPS,
            chunk_frames=CHUNK_FRAMES,
            inputs=ModelInputs(
                scenes=tuple(
                    Scene(name, title, "avatar" if kind == "avatar" else "scene", _thumbnail(name))
                    for name, title, kind in _SCENES
                ),
                prompt=PromptInput(_PROMPTS),
                speech=SpeechInput(SAMPLE_RATE, lookahead_ms=1000 * CHUNK_FRAMES // FPS),
                tracks=TracksInput(),
                picture=PictureGuide(SIZE, ((0.4, 0.45), (0.6, 0.45)), (0.5, 0.7)),
            ),
        )

    def start(self, request: StreamRequest) -> TestPatternState:
        """A new stream's state.

        Raises ValueError for an unknown scene, naming the known ones, and for a bad picture.
        """
        own = None if request.picture is None else pictures.small_square(request.picture, SIZE)
        name = request.scene or (_SCENES[0][0] if own is None else PICTURE)
        _check_scene(name, own)
        text = _PROMPTS[0] if request.prompt is None else request.prompt
        colour = prompt_colour(text)
        return TestPatternState(request.seed, name, text, colour=colour, target=colour, picture=own)

    def step(self, state: object, controls: Controls) -> Chunk:
        """Advance `state` by one chunk."""
        assert isinstance(state, TestPatternState), type(state)
        _apply(state, controls)
        before = {key: replace(track) for key, track in state.tracks.items()}
        _move_tracks(state, controls)
        audio = state.pending_audio
        state.pending_audio = _one_chunk(controls.audio)
        frames = np.empty((CHUNK_FRAMES, SIZE, SIZE, 3), np.uint8)
        for number, sound in enumerate(audio.reshape(CHUNK_FRAMES, -1)):
            tracks = _between(before, state.tracks, (number + 1) / CHUNK_FRAMES)
            _paint(frames[number], state, tracks, _rms(sound))
            state.frame += 1
        chunk = Chunk(state.chunk, frames, audio, _rms(audio) > TALKING_RMS, state.scene)
        state.chunk += 1
        return chunk

    def snapshot(self, state: object) -> bytes:
        """The whole state as bytes, for `restore` in this or another process."""
        assert isinstance(state, TestPatternState), type(state)
        fields = asdict(replace(state, pending_audio=np.zeros(0, np.int16)))
        fields["pending_audio"] = base64.b64encode(state.pending_audio.tobytes()).decode()
        fields["picture"] = base64.b64encode(state.picture or b"").decode()
        return json.dumps(fields).encode()

    def restore(self, data: bytes) -> TestPatternState:
        """The state that `snapshot` saved; going on from it equals never having stopped."""
        fields = json.loads(data)
        fields["pending_audio"] = np.frombuffer(base64.b64decode(fields["pending_audio"]), np.int16)
        fields["picture"] = base64.b64decode(fields["picture"]) or None
        fields["tracks"] = {int(key): Track(**track) for key, track in fields["tracks"].items()}
        fields["colour"], fields["target"] = tuple(fields["colour"]), tuple(fields["target"])
        return TestPatternState(**fields)


def read_barcode(frame: np.ndarray) -> int:
    """The frame number painted on `frame`, uint8 RGB [H, W, 3], after any codec."""
    bits = frame[_CELL // 2, _CELL // 2 :: _CELL].mean(axis=-1) > 127
    return int(sum(1 << (15 - place) for place, bit in enumerate(bits[:16]) if bit))


def prompt_colour(text: str) -> tuple[float, float, float]:
    """The RGB colour, 0..255, that a prompt stands for: its first colour word or its hash."""
    named = [_NAMED_HUES[word] for word in text.lower().split() if word in _NAMED_HUES]
    hue = named[0] if named else (zlib.crc32(text.encode()) % 360) / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, 0.8)
    return (round(255 * red), round(255 * green), round(255 * blue))


def _thumbnail(scene: str) -> bytes:
    frame = np.empty((SIZE, SIZE, 3), np.uint8)
    colour = prompt_colour(_PROMPTS[0])
    _paint(frame, TestPatternState(0, scene, _PROMPTS[0], colour=colour), {}, 0.0)
    return simplejpeg.encode_jpeg(frame, quality=80)


def _check_scene(name: str, own: bytes | None) -> None:
    known = [scene for scene, _, _ in _SCENES] + [PICTURE] * (own is not None)
    if name not in known:
        raise ValueError(f"unknown scene {name!r}: choose one of {', '.join(known)}")


def _apply(state: TestPatternState, controls: Controls) -> None:
    """Obey all but tracks. Raises ValueError for what it cannot, and then has changed nothing."""
    brought = state.picture
    if controls.picture is not None:
        brought = pictures.small_square(controls.picture, SIZE)
    if controls.scene is not None:
        _check_scene(controls.scene, brought)
    _check_samples(controls.audio)
    if controls.seed is not None:
        state.seed = controls.seed
    if controls.reset:
        state.frame = 0
        state.tracks.clear()
        state.pending_audio = np.zeros(CHUNK_SAMPLES, np.int16)
        state.colour = state.target
        state.transition_chunks = 0
    if controls.picture is not None:
        state.picture = brought
        state.scene = PICTURE
    if controls.scene is not None:
        state.scene = controls.scene
    if controls.prompt is not None:
        state.prompt = controls.prompt
        state.target = prompt_colour(controls.prompt)
        state.transition_chunks = controls.transition_chunks
    if controls.clear_audio:
        state.pending_audio = np.zeros(CHUNK_SAMPLES, np.int16)
    _blend(state)


def _blend(state: TestPatternState) -> None:
    """Move the colour one chunk's share towards its target."""
    share = 1 / (state.transition_chunks + 1)
    red, green, blue = (
        a + share * (b - a) for a, b in zip(state.colour, state.target, strict=True)
    )
    state.colour = (red, green, blue)
    state.transition_chunks = max(0, state.transition_chunks - 1)


def _move_tracks(state: TestPatternState, controls: Controls) -> None:
    if controls.clear_tracks is None:
        state.tracks.clear()
    for key in controls.clear_tracks or ():
        state.tracks.pop(key, None)
    for event in controls.tracks:
        _move_track(state.tracks, event)


def _move_track(tracks: dict[int, Track], event: TrackEvent) -> None:
    x, y = event.x * (SIZE - 1), event.y * (SIZE - 1)
    if event.phase == "up":
        tracks.pop(event.id, None)
    elif event.phase == "move" and event.id in tracks:
        tracks[event.id].x, tracks[event.id].y = x, y
    elif event.phase in ("down", "anchor"):
        tracks[event.id] = Track(x, y, anchor=event.phase == "anchor")


def _between(before: dict[int, Track], after: dict[int, Track], share: float) -> dict[int, Track]:
    """Tracks on their straight way from one chunk's end to the next."""
    result: dict[int, Track] = {}
    for key, track in after.items():
        start = before.get(key, track)
        x, y = start.x + share * (track.x - start.x), start.y + share * (track.y - start.y)
        result[key] = Track(x, y, track.anchor)
    return result


def _check_samples(audio: np.ndarray) -> None:
    if len(audio) > CHUNK_SAMPLES:
        raise ValueError(f"at most {CHUNK_SAMPLES} samples per step, got {len(audio)}: split them")


def _one_chunk(audio: np.ndarray) -> np.ndarray:
    padded = np.zeros(CHUNK_SAMPLES, np.int16)
    padded[: len(audio)] = audio
    return padded


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(audio.astype(np.float64) ** 2)))


def _paint(
    frame: np.ndarray, state: TestPatternState, tracks: dict[int, Track], level: float
) -> None:
    colour = np.array(state.colour)
    frame[:] = _backdrop(state, colour)
    frame[_CELL : 3 * _CELL] = np.round(colour)
    _paint_mouth(frame, level)
    for key, track in tracks.items():
        _paint_track(frame, key, track)
    for bit in range(16):
        value = 235 if state.frame >> (15 - bit) & 1 else 20
        frame[:_CELL, bit * _CELL : (bit + 1) * _CELL] = value


def _backdrop(state: TestPatternState, colour: np.ndarray) -> np.ndarray:
    if state.scene == PICTURE and state.picture is not None:
        return pictures.pixels(state.picture)
    # one row for all of them, and no numbers but bytes: a tenth of the time of a chunk
    along = np.arange(SIZE) + state.seed % 16 + state.frame
    light, dark = (colour * 0.7 + 60).astype(np.uint8), (colour * 0.5 + 30).astype(np.uint8)
    if state.scene == "bars":
        return np.where((along // 16 % 2)[:, None], light, dark)
    lines = along % 16 < 2
    grid = np.tile(np.where(lines[:, None], light, dark), (SIZE, 1, 1))
    grid[lines] = light
    return grid


def _paint_mouth(frame: np.ndarray, level: float) -> None:
    half = 2 + min(12, round(level / 500))
    frame[88 - half : 88 + half, 44:84] = (40, 10, 20)


def _paint_track(frame: np.ndarray, key: int, track: Track) -> None:
    dx, dy = _COLUMNS - track.x, _ROWS - track.y
    inside = (np.maximum(abs(dx), abs(dy)) <= 6) if track.anchor else (dx**2 + dy**2 <= 49)
    frame[inside] = (250, 250, 250) if key % 2 == 0 else (250, 220, 40)
