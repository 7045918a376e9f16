"""What a preset says of a published model: all that its code does not; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...contract import ModelInfo, ModelInputs, PromptInput
from ...student.config import CacheConfig, StudentConfig
from .latent_space import WAN21, LatentSpace

PromptSwitch = Literal["cross_attention", "recache"]
"""What a new prompt does to the past: nothing, or the cache is written anew under it."""

EXAMPLES = (
    "A paper boat drifts down a rain-filled street at dusk, neon signs reflected in the water, the "
    "camera gliding low behind it.",
    "A red fox trots through fresh snow in a birch forest, breath steaming in the morning light.",
    "A street musician plays the violin under an old stone bridge while people with umbrellas walk "
    "past.",
)
"""Prompts that the page offers; the first is shown where a stream brings none."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a file or folder is published: a repository of the Hugging Face hub, and a path in it.

    `sections` are the parts of a `.pt` file that hold the weights, the first that is there counts;
    none: the weights are not in a section.
    """

    repository: str
    path: str
    sections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank adapter that belongs to the student; see `lora.LowRank` for `alpha`."""

    source: Source
    alpha: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFiles:
    """What families that build on one model share with it: all but the student."""

    vae: Source
    text_encoder: Source
    tokenizer: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One published model.

    `student` is the architecture, its RoPE policy included; `cache` the window, the sink and what
    becomes of frames that leave. `chunk` latents are generated together in `steps` of the published
    list, unwarped, with noise added again between them and a clean pass behind; `shift` warps them.
    `first_steps` is the list of the first chunk where that is another one.

    `latents` says whose latents it makes, and with that which VAE decodes them.

    `size` is the width and height in pixels that it was trained for. `speed` is what its authors
    published, with the machine.
    """

    name: str
    title: str
    about: str
    licence: str
    student: StudentConfig
    cache: CacheConfig
    chunk: int
    steps: tuple[int, ...]
    weights: Source
    base: BaseFiles
    adapter: Adapter | None = None
    first_steps: tuple[int, ...] | None = None
    shift: float = 5.0
    prompt_switch: PromptSwitch = "cross_attention"
    latents: LatentSpace = WAN21
    size: tuple[int, int] = (832, 480)
    fps: int = 16
    speed: str = ""

    def __post_init__(self) -> None:
        if not set(self.steps) <= set(self.longest_steps):
            raise ValueError(
                f"{self.name}: steps {self.steps} are not among those of the first chunk, "
                f"{self.first_steps}"
            )

    @property
    def longest_steps(self) -> tuple[int, ...]:
        """The steps of the chunk that takes most of them, unwarped."""
        return self.first_steps or self.steps

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that has to be downloaded."""
        adapter = () if self.adapter is None else (self.adapter.source,)
        base = self.base
        return (self.weights, *adapter, base.vae, base.text_encoder, base.tokenizer)

    def info(self, size: tuple[int, int] | None = None) -> ModelInfo:
        """What a client must know of it with frames of `size` (width, height), None: its own."""
        width, height = size or self.size
        frames = self.latents.frames * self.chunk
        return ModelInfo(
            name=self.name,
            title=self.title,
            width=width,
            height=height,
            fps=self.fps,
            chunk_frames=frames,
            first_chunk_frames=frames - self.latents.frames + 1,
            inputs=ModelInputs(prompt=PromptInput(EXAMPLES)),
        )

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Latent rows and columns of a picture of `size` (width, height) pixels.

        Raises ValueError for a size that does not divide.
        """
        width, height = size
        pixels = self.latents.pixels
        across, down = pixels * self.student.patch[2], pixels * self.student.patch[1]
        if width < across or height < down or width % across or height % down:
            raise ValueError(
                f"size {width}x{height}: {self.name} needs a width that {across} divides and a "
                f"height that {down} divides; it was made for {self.size[0]}x{self.size[1]}"
            )
        return height // pixels, width // pixels
