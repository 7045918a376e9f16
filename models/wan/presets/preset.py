"""What a preset says of a published model: all that its code does not; free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ...contract import Economy, ModelInfo, ModelInputs
from ...sampling.recipe import Recipe
from ...student.config import CacheConfig, StudentConfig
from .conditioning import Conditioning
from .latent_space import WAN21, LatentSpace
from .source import Adapter, BaseFiles, Source
from .text_prompt import TextPrompt

Kind = TypeVar("Kind", bound=Conditioning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One published model.

    `student` is the architecture, its RoPE policy included; `cache` the window, the sink and what
    becomes of frames that leave; `recipe` how chunks are sampled. `conditioning` is what steers it:
    several kinds compose, and each adds to what the model accepts. `latents` says whose latents it
    makes, and with that which VAE decodes them.

    `size` is the width and height in pixels that it was trained for. `speed` is what its authors
    published, with the machine.
    """

    name: str
    title: str
    about: str
    licence: str
    student: StudentConfig
    cache: CacheConfig
    recipe: Recipe
    weights: Source
    base: BaseFiles
    conditioning: tuple[Conditioning, ...] = (TextPrompt(),)
    adapter: Adapter | None = None
    latents: LatentSpace = WAN21
    size: tuple[int, int] = (832, 480)
    fps: int = 16
    speed: str = ""

    def __post_init__(self) -> None:
        kinds = [each.kind for each in self.conditioning]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"{self.name}: conditioning {kinds}; each kind can be there once")
        recipe = self.recipe
        if recipe.first_steps and not set(recipe.steps) <= set(recipe.first_steps):
            raise ValueError(
                f"{self.name}: steps {recipe.steps} are not among those of the first chunk, "
                f"{recipe.first_steps}"
            )

    def with_steps(self, steps: Sequence[float] | None) -> Preset:
        """The same with other denoising steps, see `Recipe.with_steps`; None: as it is."""
        if steps is None:
            return self
        try:
            return replace(self, recipe=self.recipe.with_steps(steps))
        except ValueError as error:
            raise ValueError(f"--steps of {self.name}: {error}") from error

    @property
    def sources(self) -> tuple[Source, ...]:
        """Everything that has to be downloaded, each once."""
        adapter = () if self.adapter is None else (self.adapter.source,)
        base = self.base
        more = (source for each in self.conditioning for source in each.sources().values())
        every = (self.weights, *adapter, base.vae, base.text_encoder, base.tokenizer, *more)
        return tuple(dict.fromkeys(every))

    def stated(self, kind: type[Kind]) -> Kind | None:
        """What it says of a kind of conditioning; None: it has none."""
        return next((each for each in self.conditioning if isinstance(each, kind)), None)

    def info(self, size: tuple[int, int] | None = None) -> ModelInfo:
        """What a client must know of it with frames of `size` (width, height), None: its own."""
        width, height = size or self.size
        chunk = self.recipe.chunk_frames
        first = self.recipe.first_frames or chunk
        inputs = [each.inputs((width, height), self.fps) for each in self.conditioning]
        return ModelInfo(
            name=self.name,
            title=self.title,
            width=width,
            height=height,
            fps=self.fps,
            chunk_frames=self.latents.pictures(chunk, first=False),
            first_chunk_frames=self.latents.pictures(first, first=True),
            economy=Economy(steps=self.recipe.fewest_steps),
            inputs=ModelInputs(**{name: value for each in inputs for name, value in each.items()}),
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
