"""The causal few-step student: a Wan DiT that generates chunk after chunk from a rolling cache.

Architecture and parameter names after Wan 2.1 and Self-Forcing (arXiv 2506.08009, Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels.dispatch import attention
from .block_causal import BlockCausal
from .conditioning import AudioEmbedding, Conditions, TextContext, TrackHead
from .config import CacheConfig, StudentConfig
from .kv_cache import CachedCall, KVCache, StudentCache
from .layers import Attend, Block, Head, sinusoid
from .rope import RopeTable, rotate

NO_CONDITIONS = Conditions()


class CausalStudent(nn.Module):
    """Predicts velocity or sample of latents [B, F, C, h, w]; see `StudentConfig.prediction`."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        dim, kernel = config.dim, config.stem_kernel
        self.patch_embedding = nn.Conv3d(
            config.stem_channels,
            dim,
            config.patch if kernel == 1 else (1, kernel, kernel),
            stride=config.patch,
            padding=(0, kernel // 2, kernel // 2),
        )
        self.text_embedding = nn.Sequential(
            nn.Linear(config.text_dim, dim), nn.GELU(approximate="tanh"), nn.Linear(dim, dim)
        )
        self.time_embedding = _silu_mlp(config.freq_dim, dim)
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(
            Block(dim, config.ffn_dim, config.num_heads, config.eps, audio=config.audio_tokens > 0)
            for _ in range(config.num_layers)
        )
        rows, columns = config.patch[1:]
        patch_values = config.out_channels * rows * columns
        self.head = Head(dim, patch_values, config.eps, config.head_kernel)
        self._add_conditioning(config)
        self._rope: dict[tuple[int, int, torch.device], RopeTable] = {}
        _initialise(self)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patch_embedding.weight.device

    def new_cache(
        self, config: CacheConfig, *, height: int, width: int, batch: int = 1
    ) -> StudentCache:
        """Empty caches for a stream of `height` x `width` latents, in the dtype of the weights."""
        rows, columns = self._grid(height, width)
        shape = self.config
        weight = self.patch_embedding.weight
        layers = [
            KVCache(
                config,
                batch,
                shape.num_heads,
                rows * columns,
                shape.head_dim,
                dtype=weight.dtype,
                device=weight.device,
            )
            for _ in range(shape.num_layers)
        ]
        return StudentCache(config, layers, self._rope_table(rows, columns), shape.rope)

    def encode_text(self, embeddings: Tensor) -> TextContext:
        """Keys and values of `embeddings` [B, L, text_dim], padded with zero rows to `text_len`.

        The padding is not masked, as published: its rows carry the biases. Raises ValueError for
        a longer text.
        """
        missing = self.config.text_len - embeddings.shape[1]
        if missing < 0:
            raise ValueError(
                f"text of {embeddings.shape[1]} tokens; at most {self.config.text_len} fit"
            )
        text = self.text_embedding(F.pad(embeddings, (0, 0, 0, missing)))
        return TextContext(tuple(block.cross_attn.keys_values(text) for block in self._blocks()))

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        context: TextContext,
        cache: StudentCache,
        conditions: Conditions = NO_CONDITIONS,
        *,
        start: int | None = None,
        rewrite_sink: bool = False,
    ) -> Tensor:
        """One streaming call on the chunk under way; writes its keys and values into `cache`.

        `latents` [B, F, C, h, w], `timesteps` [B, F] or [B, 1] in 0..1000. Repeated calls on the
        chunk overwrite; `cache.advance(F)` ends it. `start` and `rewrite_sink` as in
        `StudentCache.begin`. Returns the prediction [B, F, C, h, w].
        """
        call = cache.begin(latents.shape[1], start=start, rewrite_sink=rewrite_sink)
        attends = [partial(_attend_cache, layer, call) for layer in cache.layers]
        return self._run(latents, timesteps, context, conditions, attends)

    def forward_rows(
        self,
        latents: Tensor,
        timesteps: Tensor,
        contexts: Sequence[TextContext],
        caches: Sequence[StudentCache],
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        """`forward` for independent streams or noise levels: row b has `caches[b]`, of batch 1.

        The weights are applied to all rows at once, attention to each row with its own past.
        """
        calls = [cache.begin(latents.shape[1]) for cache in caches]
        attends = [
            partial(_attend_rows, list(zip(layers, calls, strict=True)))
            for layers in zip(*(cache.layers for cache in caches), strict=True)
        ]
        context = _stack_contexts(contexts)
        return self._run(latents, timesteps, context, conditions, attends)

    def forward_sequence(
        self,
        latents: Tensor,
        timesteps: Tensor,
        context: TextContext,
        conditions: Conditions = NO_CONDITIONS,
        *,
        cache: CacheConfig,
        chunk_frames: int,
    ) -> Tensor:
        """The same chunks in one differentiable pass, equal to one `forward` per chunk.

        Keys and values of the past are those of this very pass. Shapes as in `forward`, F a
        multiple of `chunk_frames`; `cache` gives window and sink.
        """
        rows, columns = self._grid(*latents.shape[-2:])
        rope = self._rope_table(rows, columns)
        plan = BlockCausal(
            rope, self.config.rope, cache, frames=latents.shape[1], chunk_frames=chunk_frames
        )
        attends = [plan.attend] * self.config.num_layers
        return self._run(latents, timesteps, context, conditions, attends)

    def _run(
        self,
        latents: Tensor,
        timesteps: Tensor,
        context: TextContext,
        conditions: Conditions,
        attends: list[Attend],
    ) -> Tensor:
        batch, frames, _, height, width = latents.shape
        conditions.check(self.config, frames)
        draft = self._draft_latents(conditions, latents)
        x = self._embed_patches(latents, draft, conditions)
        embedding = self._embed_time(timesteps.expand(batch, frames), conditions)
        modulation = self.time_projection(embedding).unflatten(2, (6, -1))
        audio = None if self.audio_embedding is None else self.audio_embedding(conditions.audio)
        for block, attend, text in zip(self._blocks(), attends, context.layers, strict=True):
            x = block(x, modulation, attend, _for_batch(text, batch), audio)
        rows, columns = self._grid(height, width)
        out = self._unpatch(self.head(x, embedding, rows, columns))
        for added in (draft, conditions.base):
            out = out if added is None else out + added
        return out

    def _add_conditioning(self, config: StudentConfig) -> None:
        dim = config.dim
        self.audio_embedding = (
            AudioEmbedding(config.audio_tokens, config.audio_dim, dim)
            if config.audio_tokens
            else None
        )
        self.track_head = (
            TrackHead(config.track_channels, config.track_features, config.track_stride)
            if config.track_channels
            else None
        )
        self.frame_embedding = _silu_mlp(config.frame_dim, dim) if config.frame_dim else None
        self.draft = None
        if config.draft and config.grid:
            rows, columns = config.grid
            self.draft = nn.Linear(config.frame_dim, config.out_channels * rows * columns)

    def _draft_latents(self, conditions: Conditions, latents: Tensor) -> Tensor | None:
        if self.draft is None:
            return None
        if self.config.grid != tuple(latents.shape[-2:]):
            raise ValueError(
                f"latents of {tuple(latents.shape[-2:])}; this student drafts {self.config.grid}"
            )
        shape = (self.config.out_channels, *latents.shape[-2:])
        return self.draft(conditions.frames).unflatten(2, shape)

    def _embed_patches(
        self, latents: Tensor, draft: Tensor | None, conditions: Conditions
    ) -> Tensor:
        """Tokens [B, F * P, d], ordered frame, row, column."""
        batch, frames, _, height, width = latents.shape
        parts = [latents]
        if draft is not None:
            parts.append(draft)
        if conditions.channels is not None:
            parts.append(conditions.channels.expand(batch, frames, -1, height, width))
        if self.track_head is not None and conditions.tracks is not None:
            parts.append(self.track_head(conditions.tracks))
        stacked = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        stem = self.patch_embedding
        # A temporal kernel of 1 is a 2-D convolution of every frame, and that is faster.
        x = F.conv2d(
            stacked.flatten(0, 1),
            stem.weight.squeeze(2),
            stem.bias,
            stride=self.config.patch[1:],
            padding=self.config.stem_kernel // 2,
        )
        return x.flatten(2).transpose(1, 2).reshape(batch, -1, x.shape[1])

    def _embed_time(self, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """[B, F, d]: time and, where the student has them, the frame conditions."""
        waves = sinusoid(timesteps, self.config.freq_dim)
        embedding = self.time_embedding(waves.to(self.patch_embedding.weight.dtype))
        if self.frame_embedding is not None:
            embedding = embedding + self.frame_embedding(conditions.frames)
        return embedding

    def _unpatch(self, patches: Tensor) -> Tensor:
        """[B, F, C, h, w] of `patches` [B, F, rows, columns, patch values]."""
        high, wide = self.config.patch[1:]
        split = patches.unflatten(4, (high, wide, -1))
        return split.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)

    def _grid(self, height: int, width: int) -> tuple[int, int]:
        self.config.tokens_per_frame(height, width)
        return height // self.config.patch[1], width // self.config.patch[2]

    def _rope_table(self, rows: int, columns: int) -> RopeTable:
        key = (rows, columns, self.device)
        if key not in self._rope:
            self._rope[key] = RopeTable(self.config.head_dim, rows, columns, device=self.device)
        return self._rope[key]

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


def _attend_cache(
    cache: KVCache, call: CachedCall, query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    keys, values = cache.update(call, key, value)
    return attention(rotate(query, call.query), keys, values)


def _attend_rows(
    rows: list[tuple[KVCache, CachedCall]], query: Tensor, key: Tensor, value: Tensor
) -> Tensor:
    parts = [
        _attend_cache(cache, call, query[b : b + 1], key[b : b + 1], value[b : b + 1])
        for b, (cache, call) in enumerate(rows)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _stack_contexts(contexts: Sequence[TextContext]) -> TextContext:
    """The contexts of a batch's rows as one; one that all rows share stays as it is."""
    if all(context is contexts[0] for context in contexts):
        return contexts[0]
    layers = zip(*(context.layers for context in contexts), strict=True)
    return TextContext(
        tuple(
            (torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in layers
        )
    )


def _for_batch(text: tuple[Tensor, Tensor], batch: int) -> tuple[Tensor, Tensor]:
    key, value = text
    if key.shape[0] == batch:
        return text
    return key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1)


def _silu_mlp(inputs: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, dim), nn.SiLU(), nn.Linear(dim, dim))


def _initialise(student: CausalStudent) -> None:
    """Wan's initialisation; every optional part starts as a no-op."""
    for module in student.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(student.patch_embedding.weight.flatten(1))
    for embedding in (student.text_embedding, student.time_embedding):
        for layer in embedding:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.02)
    _zero(student.head.head)
    if student.frame_embedding is not None:
        _zero(student.frame_embedding[2])
    if student.draft is not None:
        _zero(student.draft)
    for block in student.blocks:
        if isinstance(block, Block) and block.audio_attn is not None:
            _zero(block.audio_attn.o)


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
