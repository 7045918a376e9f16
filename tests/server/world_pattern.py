"""A real small model that starts from an image, has a camera and looks at video: it shows each.

What it paints, of any size from 128 x 48 pixels on, so that a test can read it back:

- rows 0 to 7: the number of the frame since the start, as in the test pattern (`read_barcode`);
- rows 8 to 15: the prompt's colour;
- the lowest 8 rows: white from the left to as far as the camera has come forward, in widths;
- between: the newest frame of the video, half of it in the prompt's colour; without video the
  image, which the camera moves over (`at`); without that, stripes by the seed.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from rollcast.models import picture
from rollcast.models.contract import (
    CameraInput,
    Chunk,
    Controls,
    ImageInput,
    ModelInfo,
    ModelInputs,
    PromptInput,
    StreamRequest,
    VideoInput,
)
from rollcast.models.test_pattern import prompt_colour

WIDTH, HEIGHT, FPS, CHUNK_FRAMES = 160, 96, 16, 4
PROMPTS = ("a red morning by the sea", "a blue night in a city of glass", "a green wood after rain")
BAR = 8
"""Rows of each of the three bars."""
EVERYTHING = ModelInputs(
    prompt=PromptInput(PROMPTS),
    image=ImageInput(WIDTH, HEIGHT),
    camera=CameraInput("6dof"),
    video=VideoInput(WIDTH, HEIGHT, FPS),
)


@dataclass
class WorldState:
    """All that changes in one stream; `at` is where the camera is, as `CameraMotion` counts."""

    seed: int
    prompt: str
    image: bytes | None
    frame: int = 0
    chunk: int = 0
    moving: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (0.0,) * 3)
    at: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * 3, (0.0,) * 3)
    seen: np.ndarray = field(default_factory=lambda: Controls().video)


class WorldPattern:
    """A `Model` that paints; `inputs` and the size of its frames are what a test wants."""

    def __init__(
        self,
        inputs: ModelInputs = EVERYTHING,
        *,
        name: str = "world",
        width: int = WIDTH,
        height: int = HEIGHT,
        fps: int = FPS,
    ) -> None:
        self.info = ModelInfo(
            name=name,
            title=name.title(),
            width=width,
            height=height,
            fps=fps,
            chunk_frames=CHUNK_FRAMES,
            inputs=inputs,
        )

    def start(self, request: StreamRequest) -> WorldState:
        """A new stream's state. Raises ValueError without the image that it must have."""
        wanted = self.info.inputs.image
        if wanted is not None and wanted.required and request.image is None:
            raise ValueError("there is no image to start from")
        prompt = PROMPTS[0] if request.prompt is None else request.prompt
        return WorldState(request.seed, prompt, request.image)

    def step(self, state: object, controls: Controls) -> Chunk:
        """Advance `state` by one chunk."""
        assert isinstance(state, WorldState)
        self._obey(state, controls)
        frames = np.stack([self._next_frame(state) for _ in range(CHUNK_FRAMES)])
        chunk = Chunk(state.chunk, frames, np.zeros(0, np.int16))
        state.chunk += 1
        return chunk

    def snapshot(self, state: object) -> bytes:
        """The whole state as bytes, for `restore`."""
        assert isinstance(state, WorldState)
        plain = asdict(replace(state, image=None, seen=Controls().video))
        plain["image"] = base64.b64encode(state.image or b"").decode()
        plain["seen"] = [state.seen.shape, base64.b64encode(state.seen.tobytes()).decode()]
        return json.dumps(plain).encode()

    def restore(self, data: bytes) -> WorldState:
        """The state that `snapshot` saved."""
        plain = json.loads(data)
        plain["image"] = base64.b64decode(plain["image"]) or None
        shape, pixels = plain["seen"]
        plain["seen"] = np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(shape)
        for name in ("moving", "at"):
            plain[name] = tuple(map(tuple, plain[name]))
        return WorldState(**plain)

    def _obey(self, state: WorldState, controls: Controls) -> None:
        if controls.seed is not None:
            state.seed = controls.seed
        if controls.prompt is not None:
            state.prompt = controls.prompt
        if controls.image is not None:
            state.image = controls.image
        if controls.reset or controls.image is not None:
            state.frame, state.at = 0, ((0.0,) * 3, (0.0,) * 3)
        if controls.camera is not None:
            state.moving = controls.camera.translation, controls.camera.rotation
        if len(controls.video):
            state.seen = controls.video[-1:]

    def _next_frame(self, state: WorldState) -> np.ndarray:
        frame = self._scene(state)
        colour = np.array(prompt_colour(state.prompt))
        for bit in range(16):
            value = 235 if state.frame >> (15 - bit) & 1 else 20
            frame[:BAR, bit * BAR : (bit + 1) * BAR] = value
        frame[BAR : 2 * BAR] = colour
        forward = round(max(0.0, min(1.0, state.at[0][2])) * self.info.width)
        frame[-BAR:] = 0
        frame[-BAR:, :forward] = 255
        state.frame += 1
        at, moving = state.at, state.moving
        state.at = (
            _later(at[0], moving[0], self.info.fps),
            _later(at[1], moving[1], self.info.fps),
        )
        return frame

    def _scene(self, state: WorldState) -> np.ndarray:
        width, height = self.info.width, self.info.height
        colour = np.array(prompt_colour(state.prompt))
        if len(state.seen):
            seen = _resized(state.seen[-1], width, height)
            return ((seen.astype(np.uint16) + colour.astype(np.uint16)) // 2).astype(np.uint8)
        if state.image is not None:
            shown = picture.fitted_pixels(state.image, width, height)
            right, down = shift(state.at, width)
            return np.roll(shown, (-down, -right), axis=(0, 1)).copy()
        stripes = ((np.arange(width) + state.seed % 16 + state.frame) // 16) % 2
        row = np.where(stripes[:, None], colour * 0.7 + 60, colour * 0.5 + 30).astype(np.uint8)
        return np.broadcast_to(row, (height, width, 3)).copy()


def shift(at: tuple[tuple[float, ...], tuple[float, ...]], width: int) -> tuple[int, int]:
    """How many pixels right and down the camera looks; a quarter turn is one width."""
    (right, down, _), (pitch, yaw, _) = at
    return round((right + yaw / 90) * width), round((down - pitch / 90) * width)


def _later(at: tuple[float, ...], speed: tuple[float, ...], fps: int) -> tuple[float, ...]:
    return tuple(place + each / fps for place, each in zip(at, speed, strict=True))


def _resized(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    rows = np.arange(height) * frame.shape[0] // height
    columns = np.arange(width) * frame.shape[1] // width
    return frame[rows][:, columns]
