"""The pipeline of a checkout of Reward Forcing, brought up on a CPU without its downloads.

Its own modules run, unchanged but for what needs CUDA or a download: attention is torch's
`scaled_dot_product_attention`, the model has the shape and the weights that it is given, text comes
as embeddings and no picture is decoded. Sizes that it has written down for 832x480 are set.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.student.config import CacheConfig, StudentConfig

REPOSITORY = "https://github.com/JaydenLyh/Reward-Forcing"
_MODEL, _WRAPPER = "wan.modules.causal_model", "utils.wan_wrapper"
_PIPELINE = "pipeline.causal_inference"
_PACKAGES = ("wan", "wan.modules", "utils", "pipeline", "demo_utils")
# They ask for a GPU when they are imported, or are for text and pictures.
_UNUSED = ("demo_utils.memory", "wan.modules.t5", "wan.modules.tokenizers", "wan.modules.vae")
STEPS = (1000, 750, 500, 250)
SHIFT = 5.0

Stamp = Callable[[], None]


class NoCheckout(FileNotFoundError):
    """A folder is no checkout of Reward Forcing, or lacks what it needs; `hint` says what to do."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


class PublishedPipeline:
    """The published loop over chunks, for one shape of a student.

    Raises NoCheckout if `checkout` has not its files, or one of them cannot be imported.
    """

    def __init__(
        self, checkout: Path, student: StudentConfig, cache: CacheConfig, chunk_frames: int
    ) -> None:
        self._student, self._cache = student, cache
        code = _imported(checkout)
        code[_MODEL].attention = _attention
        code["wan.modules.model"].flash_attention = _attention
        self.model: Any = code[_MODEL].CausalWanModel(
            patch_size=student.patch,
            text_len=student.text_len,
            in_dim=student.in_channels,
            dim=student.dim,
            ffn_dim=student.ffn_dim,
            freq_dim=student.freq_dim,
            text_dim=student.text_dim,
            out_dim=student.out_channels,
            num_heads=student.num_heads,
            num_layers=student.num_layers,
            local_attn_size=cache.capacity_frames,
            sink_size=cache.sink_frames,
            eps=student.eps,
        )
        code[_WRAPPER].CausalWanModel = SimpleNamespace(from_pretrained=self._from_pretrained)
        generator = code[_WRAPPER].WanDiffusionWrapper(timestep_shift=SHIFT, is_causal=True)
        settings = SimpleNamespace(
            denoising_step_list=list(STEPS),
            warp_denoising_step=True,
            num_frame_per_block=chunk_frames,
            independent_first_frame=False,
            context_noise=0,
        )
        with contextlib.redirect_stdout(io.StringIO()):
            self._pipeline = code[_PIPELINE].CausalInferencePipeline(
                settings,
                torch.device("cpu"),
                generator=generator,
                text_encoder=nn.Identity(),
                vae=nn.Identity(),
            )

    def _from_pretrained(self, *_: Any, **__: Any) -> Any:
        return self.model

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over `weights` by their published names."""
        self.model.load_state_dict(weights)
        self.model.eval().requires_grad_(False)
        for module in self.model.modules():
            if hasattr(module, "compression_alpha"):
                module.compression_alpha = self._cache.alpha

    def start(self, height: int, width: int, batch: int = 1) -> None:
        """Empty caches for latents of `height` x `width`."""
        student, tokens = self._student, self._student.tokens_per_frame(height, width)
        pipeline = self._pipeline
        pipeline.num_transformer_blocks, pipeline.frame_seq_length = student.num_layers, tokens
        for module in self.model.modules():
            if hasattr(module, "max_attention_size"):
                module.max_attention_size = self._cache.capacity_frames * tokens
        shape = batch, self._cache.capacity_frames * tokens, student.num_heads, student.head_dim
        pipeline.kv_cache1 = [
            {
                "k": torch.zeros(shape),
                "v": torch.zeros(shape),
                "global_end_index": torch.zeros(1, dtype=torch.long),
                "local_end_index": torch.zeros(1, dtype=torch.long),
            }
            for _ in range(student.num_layers)
        ]
        pipeline.crossattn_cache = [{"is_init": False} for _ in range(student.num_layers)]

    def run(self, noise: Tensor, text: Tensor, stamp: Stamp = lambda: None) -> Tensor:
        """All latents [B, F, C, h, w] from `noise` of that shape, under `text` [B, L, text_dim].

        Noise between steps is torch's, by its own state. `stamp` is called before each chunk and
        once at the end.
        """
        started: list[int] = []

        def at_chunk(_: nn.Module, __: tuple[Any, ...], given: dict[str, Any]) -> None:
            if started != [given["current_start"]]:
                started[:] = [given["current_start"]]
                stamp()

        def at_end(latents: Tensor, **_: Any) -> Tensor:
            stamp()
            return latents

        pipeline = self._pipeline
        pipeline.text_encoder.forward = lambda text_prompts: {"prompt_embeds": text}
        pipeline.vae.decode_to_pixel = at_end
        hook = pipeline.generator.register_forward_pre_hook(at_chunk, with_kwargs=True)
        try:
            with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
                return pipeline.inference(noise, [""] * len(noise), return_latents=True)[1]
        finally:
            hook.remove()


def _attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> Tensor:
    """In place of FlashAttention: [B, N, H, D] in and out, of whole sequences."""
    query, key, value = (each.transpose(1, 2) for each in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def _imported(checkout: Path) -> dict[str, Any]:
    """The modules of a checkout by name; what was imported by these names before is kept."""
    for name in (_MODEL, _WRAPPER, _PIPELINE):
        path = checkout / Path(*name.split(".")).with_suffix(".py")
        if not path.is_file():
            raise NoCheckout(f"no file {path}", f"Use a checkout of {REPOSITORY}.")
    tops = {name.partition(".")[0] for name in _PACKAGES}
    with _without(tops):
        for name in _PACKAGES:
            # bare packages: theirs import all of the training, too
            package = ModuleType(name)
            package.__path__ = [str(checkout / Path(*name.split(".")))]
            sys.modules[name] = package
        for name in _UNUSED:
            unused = ModuleType(name)
            unused.__getattr__ = lambda _: None  # pyright: ignore[reportAttributeAccessIssue]
            sys.modules[name] = unused
        try:
            names = (_MODEL, "wan.modules.model", _WRAPPER, _PIPELINE)
            return {name: importlib.import_module(name) for name in names}
        except ImportError as error:
            raise NoCheckout(
                f"{checkout} cannot be imported: {error}",
                "It needs `pip install diffusers einops` in the environment of Rollcast.",
            ) from error


@contextlib.contextmanager
def _without(tops: set[str]) -> Iterator[None]:
    """Inside there are no modules below these names; afterwards the ones from before."""

    def taken() -> dict[str, ModuleType]:
        return {n: m for n, m in sys.modules.items() if n.partition(".")[0] in tops}

    before = taken()
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in taken():
            del sys.modules[name]
        sys.modules.update(before)
