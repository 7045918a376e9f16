"""The causal few-step student: a Wan DiT that generates chunk after chunk from a rolling cache.

Architecture and parameter names after Wan 2.1 and Self-Forcing (arXiv 2506.08009, Apache-2.0).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.block_sparse.gilbert import inverse_order
from ..upload import uploaded
from .adaptive_sink import AdaptiveKVCache
from .audio_injector import AudioInjector
from .block_causal import BlockCausal, CleanPast
from .blocks import QKVO, Attend, Block, FusedAttend, Head, Stream, float32_sinusoid, sinusoid
from .cache_attend import cache_attend
from .conditioning import (
    AudioEmbedding,
    Conditions,
    ImageEmbedding,
    TextContext,
    TrackHead,
    for_batch,
    stack_contexts,
)
from .config import AttentionKind, CacheConfig, StudentConfig
from .frame_packer import FramePacker
from .kv_cache import KVCache
from .pooled_attend import PooledAttend, pooled_calls
from .rope import RopeTable
from .speech_projector import SpeechProjector
from .step_graphs import StepGraphs, StepInputs, Times
from .student_cache import StudentCache
from .token_sink import SinkPlaces, places_of

NO_CONDITIONS = Conditions()
# Above, as with one timestep for each token, a layer's modulation is made when its turn comes.
_FRAMES_AT_ONCE = 64
# Of a packed student: those of a chunk's calls, with and without frames that are held.
_TIMES_KEPT = 16


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
            Block(
                dim,
                config.ffn_dim,
                config.num_heads,
                config.eps,
                audio=config.audio_tokens > 0,
                image=config.image_dim > 0,
            )
            for _ in range(config.num_layers)
        )
        rows, columns = config.patch[1:]
        patch_values = config.out_channels * rows * columns
        self.head = Head(dim, patch_values, config.eps, config.head_kernel)
        self._add_conditioning(config)
        self._add_avatar(config)
        # How caches made here are attended to, see `CacheConfig.attention`.
        self.attention: AttentionKind = "exact"
        self._rope: dict[tuple[int, int, torch.device], RopeTable] = {}
        self.graphs: StepGraphs | None = None
        """Records the calls of `forward_rows` and replays them, on a GPU."""
        self._times_kept: OrderedDict[tuple[tuple[float, ...], ...], Times] | None = None
        _initialise(self)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patch_embedding.weight.device

    def new_cache(
        self, config: CacheConfig, *, height: int, width: int, batch: int = 1
    ) -> StudentCache:
        """Empty caches for a stream of `height` x `width` latents, in the dtype of the weights.

        Those of an avatar want their sink before the first call (`StudentCache.set_sink`).
        """
        if self.attention != "exact":
            config = replace(config, attention=self.attention)
        rows, columns = self._grid(height, width)
        shape = self.config
        weight = self.patch_embedding.weight
        places = self.sink_places(height, width, config)
        kind = KVCache if config.refresh_below is None else AdaptiveKVCache
        # An adaptive sink is each layer's own affair.
        together = shape.num_layers if kind is KVCache else 1
        caches = [
            kind(
                config,
                batch * together,
                shape.num_heads,
                rows * columns,
                shape.head_dim,
                sink_tokens=0 if places is None else places.tokens,
                dtype=weight.dtype,
                device=weight.device,
            )
            for _ in range(shape.num_layers // together)
        ]
        whole = caches[0] if kind is KVCache else None
        return StudentCache(
            config,
            caches if whole is None else whole.split(together),
            self._rope_table(rows, columns),
            shape.rope,
            places,
            trained_frames=shape.trained_frames,
            whole=whole,
        )

    def sink_places(
        self, height: int, width: int, cache: CacheConfig | None = None
    ) -> SinkPlaces | None:
        """`token_sink.places_of` for latents of `height` x `width`."""
        rope = self._rope_table(*self._grid(height, width))
        return places_of(self.config, cache, rope, height, width)

    def encode_text(self, embeddings: Tensor, image: Tensor | None = None) -> TextContext:
        """Keys and values of `embeddings` [B, L, text_dim], padded with zero rows to `text_len`.

        The padding is not masked, as published: its rows carry the biases. `image` [B, N,
        image_dim] are the features of an image, for a student that has `image_dim`; without them
        it attends to none. Raises ValueError for a longer text, and for an image that the student
        has no use for.
        """
        missing = self.config.text_len - embeddings.shape[1]
        if missing < 0:
            raise ValueError(
                f"text of {embeddings.shape[1]} tokens; at most {self.config.text_len} fit"
            )
        text = self.text_embedding(F.pad(embeddings, (0, 0, 0, missing)))
        layers = tuple(block.cross_attn.keys_values(text) for block in self.wan_blocks())
        if image is None:
            return TextContext(layers)
        if self.img_emb is None:
            raise ValueError("this student attends to no image; its config has image_dim 0")
        seen = self.img_emb(image)
        return TextContext(
            layers, tuple(block.cross_attn.image_keys_values(seen) for block in self.wan_blocks())
        )

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
        store: bool = True,
    ) -> Tensor:
        """One streaming call on the chunk under way; writes its keys and values into `cache`.

        `latents` [B, F, C, h, w]; `timesteps` in 0..1000 are [B, F], [B, 1] or, one for each token,
        [B, F * tokens]; on the CPU, wherever the student is, nobody waits for them. Repeated calls
        on the chunk overwrite; `cache.advance(F)` ends it. `start`, `rewrite_sink` and `store` as
        in `StudentCache.begin`. Returns the prediction [B, F, C, h, w].
        """
        call = cache.begin(latents.shape[1], start=start, rewrite_sink=rewrite_sink, store=store)
        cache.arrange(call)
        attends = [cache_attend([(layer, call)]) for layer in cache.layers]
        order = cache.token_order
        return self._run(latents, timesteps, context, conditions, attends, order)

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
        inputs = self.told(latents, timesteps, contexts, caches, conditions)
        step = partial(self.step, caches=caches)
        return step(inputs) if self.graphs is None else self.graphs.run(step, inputs, caches)

    def told(
        self,
        latents: Tensor,
        timesteps: Tensor,
        contexts: Sequence[TextContext],
        caches: Sequence[StudentCache],
        conditions: Conditions = NO_CONDITIONS,
    ) -> StepInputs:
        """Begin a call of `forward_rows`: all that the host works out for it."""
        times = self._times(timesteps, latents, conditions, caches[0].token_order)
        context = stack_contexts(contexts)
        # last: nothing that could fail stands between a call's beginning and what it makes leave
        calls = tuple(cache.begin(latents.shape[1]) for cache in caches)
        return StepInputs(latents, conditions, times, context, calls)

    def step(self, inputs: StepInputs, caches: Sequence[StudentCache]) -> Tensor:
        """The call that `told` has begun: what it does is in `inputs`, and nothing of time else.

        So torch.compile makes one graph of it that serves every chunk of a ring's phase.
        """
        for cache, call in zip(caches, inputs.calls, strict=True):
            cache.arrange(call)
        pooled = pooled_calls(caches, inputs.calls)
        if pooled is not None:
            attends = [PooledAttend(pooled, k) for k in range(self.config.num_layers)]
            return self._predict(inputs, attends, caches[0].token_order)
        attends = [
            cache_attend(list(zip(layers, inputs.calls, strict=True)))
            for layers in zip(*(cache.layers for cache in caches), strict=True)
        ]
        return self._predict(inputs, attends, caches[0].token_order)

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
        plan = self._offline_plan(latents, cache, chunk_frames)
        attends = [plan.attend] * self.config.num_layers
        return self._run(latents, timesteps, context, conditions, attends, plan.token_order)

    def clean_past(
        self,
        latents: Tensor,
        context: TextContext,
        conditions: Conditions = NO_CONDITIONS,
        *,
        cache: CacheConfig,
        chunk_frames: int,
        timestep: float = 0.0,
    ) -> CleanPast:
        """What the clean passes over these chunks leave for later ones, in one differentiable pass.

        As `forward_sequence`, all at `timestep`, the recipe's `context_timestep`.
        """
        plan = self._offline_plan(latents, cache, chunk_frames)
        layers: list[tuple[Tensor, Tensor]] = []

        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            layers.append((key, value))
            return plan.attend(query, key, value)

        times = torch.full(latents.shape[:2], timestep)
        attends = [attend] * self.config.num_layers
        self._run(latents, times, context, conditions, attends, plan.token_order)
        return CleanPast(plan, tuple(layers))

    def forward_behind(
        self,
        past: CleanPast,
        latents: Tensor,
        timesteps: Tensor,
        context: TextContext,
        conditions: Conditions = NO_CONDITIONS,
    ) -> Tensor:
        """One step of every chunk at once, each behind the clean chunks before it.

        Equal to one `forward` per chunk on a cache that clean passes have written: the step of
        teacher forcing, and that of Self Forcing through which gradients go. `latents` are as long
        as what `past` is of. Returns the prediction [B, F, C, h, w].
        """
        attends = [partial(past.plan.attend_behind, layer) for layer in past.layers]
        order = past.plan.token_order
        return self._run(latents, timesteps, context, conditions, attends, order)

    def _offline_plan(self, latents: Tensor, cache: CacheConfig, chunk_frames: int) -> BlockCausal:
        if self.config.avatar is not None:
            raise ValueError("an avatar has no offline pass: its sink is not part of the sequence")
        if cache.refresh_below is not None:
            raise ValueError("an adaptive sink has no offline pass: it follows from the keys")
        rows, columns = self._grid(*latents.shape[-2:])
        return BlockCausal(
            self._rope_table(rows, columns),
            self.config.rope,
            cache,
            frames=latents.shape[1],
            chunk_frames=chunk_frames,
            trained_frames=self.config.trained_frames,
        )

    def _run(
        self,
        latents: Tensor,
        timesteps: Tensor,
        context: TextContext,
        conditions: Conditions,
        attends: Sequence[Attend | FusedAttend],
        order: Tensor | None = None,
    ) -> Tensor:
        """`order`: how the caches want the tokens of a frame."""
        times = self._times(timesteps, latents, conditions, order)
        return self._predict(StepInputs(latents, conditions, times, context, ()), attends, order)

    def _times(
        self, timesteps: Tensor, latents: Tensor, conditions: Conditions, order: Tensor | None
    ) -> Times:
        """Those of a call, which has to be one that the student can make."""
        batch, frames = latents.shape[:2]
        conditions.check(self.config, frames)
        if timesteps.shape[1] in (1, frames):
            timesteps = timesteps.expand(batch, frames)
        elif order is not None or conditions.frames is not None:
            raise ValueError(
                f"timesteps {tuple(timesteps.shape)} for {frames} frames; one for each token goes "
                "with neither conditions of frames nor sparse attention"
            )
        kept = self._times_kept
        if kept is None or conditions.frames is not None or timesteps.device.type != "cpu":
            return Times(self._embed_time(timesteps, conditions))
        key = tuple(tuple(row) for row in timesteps.tolist())
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
        with torch.inference_mode(False), torch.no_grad():
            embedding = self._embed_time(timesteps.clone(), NO_CONDITIONS)
            kept[key] = made = Times(embedding, torch.stack(tuple(self._modulations(embedding))))
        if len(kept) > _TIMES_KEPT:
            kept.popitem(last=False)
        return made

    def _predict(
        self, inputs: StepInputs, attends: Sequence[Attend | FusedAttend], order: Tensor | None
    ) -> Tensor:
        latents, conditions, times = inputs.latents, inputs.conditions, inputs.times
        context = inputs.context
        batch, _, _, height, width = latents.shape
        draft = self._draft_latents(conditions, latents)
        x = self._mark_noisy(self._embed_patches(latents, draft, conditions), conditions)
        if order is not None:
            x = _reordered(x, order)
        audio = None if self.audio_embedding is None else self.audio_embedding(conditions.audio)
        images = context.images or (None,) * len(context.layers)
        modulations = times.modulations
        if modulations is None:
            modulations = self._modulations(times.embedding)
        stream = Stream(x)
        layers = zip(self.wan_blocks(), modulations, attends, context.layers, images, strict=True)
        for index, (block, modulation, attend, text, image) in enumerate(layers):
            seen = None if image is None else for_batch(image, batch)
            stream = block(stream, modulation, attend, for_batch(text, batch), audio, seen)
            if self.audio_injector is not None and conditions.speech is not None:
                stream = self.audio_injector(stream, index, conditions.speech)
        raster = None if order is None else partial(_reordered, order=inverse_order(order))
        rows, columns = self._grid(height, width)
        out = self._unpatch(self.head(stream, times.embedding, rows, columns, raster))
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
            TrackHead(
                config.track_channels,
                config.track_features,
                config.track_stride,
                bias=config.track_bias,
            )
            if config.track_channels
            else None
        )
        self.img_emb = ImageEmbedding(config.image_dim, dim) if config.image_dim else None
        self.frame_embedding = _silu_mlp(config.frame_dim, dim) if config.frame_dim else None
        self.draft = None
        if config.draft and config.grid:
            rows, columns = config.grid
            self.draft = nn.Linear(config.frame_dim, config.out_channels * rows * columns)

    def _add_avatar(self, config: StudentConfig) -> None:
        """The parts of Live Avatar, by the names of its weights."""
        avatar, dim = config.avatar, config.dim
        channels = config.in_channels
        self.cond_encoder = (
            nn.Conv3d(avatar.pose_channels, dim, config.patch, config.patch) if avatar else None
        )
        self.trainable_cond_mask = nn.Embedding(3, dim) if avatar else None
        self.casual_audio_encoder = (
            SpeechProjector(avatar.audio_layers, avatar.audio_dim, dim, avatar.audio_tokens)
            if avatar
            else None
        )
        self.audio_injector = (
            AudioInjector(dim, config.num_heads, avatar.inject_layers) if avatar else None
        )
        self.frame_packer = FramePacker(channels, dim) if avatar else None

    def _mark_noisy(self, x: Tensor, conditions: Conditions) -> Tensor:
        """An avatar's tokens with their pose and the mark that they are not the sink's."""
        if self.cond_encoder is None or self.trainable_cond_mask is None:
            return x
        # No pose is a pose of zeros, whose bias counts.
        pose = torch.as_tensor(self.cond_encoder.bias)
        if conditions.pose is not None:
            pose = patch_tokens(self.cond_encoder, conditions.pose)
        return x + pose + self.trainable_cond_mask.weight[0]

    def _draft_latents(self, conditions: Conditions, latents: Tensor) -> Tensor | None:
        if self.draft is None:
            return None
        if self.config.grid != tuple(latents.shape[-2:]):
            raise ValueError(
                f"latents of {tuple(latents.shape[-2:])}; this student drafts {self.config.grid}"
            )
        shape = (self.config.out_channels, *latents.shape[-2:])
        assert conditions.frames is not None, "they were checked"
        return _row_by_row(self.draft, conditions.frames).unflatten(2, shape)

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
        return patch_tokens(self.patch_embedding, stacked)

    def modulations(self, timesteps: Tensor) -> Iterable[Tensor]:
        """Modulation [B, F, 6, d] of each block at `timesteps` [B, F], without frame conditions."""
        return self._modulations(self._embed_time(timesteps, NO_CONDITIONS))

    def _modulations(self, embedding: Tensor) -> Iterable[Tensor]:
        """The same for an `embedding` [B, F, d] of time; at once, unless that takes much room."""
        shared = self.time_projection(embedding).unflatten(2, (6, -1))
        own: list[Tensor] = [block.modulation for block in self.wan_blocks()]
        if shared.shape[1] > _FRAMES_AT_ONCE:
            return (each + shared for each in own)
        return (torch.cat(own)[:, None, None] + shared).unbind(0)

    def _embed_time(self, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """[B, F, d]: time and, where the student has them, the frame conditions."""
        exact = self.config.time_waves == "float64"
        waves = (sinusoid if exact else float32_sinusoid)(timesteps, self.config.freq_dim)
        weight = self.patch_embedding.weight
        embedding = self.time_embedding(uploaded(waves, weight.device, weight.dtype))
        if self.frame_embedding is not None and conditions.frames is not None:
            embedding = embedding + _row_by_row(self.frame_embedding, conditions.frames)
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
            avatar = self.config.avatar
            half = avatar is not None and avatar.half_rope
            self._rope[key] = RopeTable(
                self.config.head_dim, rows, columns, device=self.device, half=half
            )
        return self._rope[key]

    def pack(self) -> None:
        """Fewer and larger products, on a GPU (`SelfAttention.pack`).

        From then on what follows from timesteps alone is made once.
        """
        self._times_kept = OrderedDict()
        for block in self.wan_blocks():
            block.self_attn.pack()

    def wan_blocks(self) -> list[Block]:
        """The blocks in order."""
        return [block for block in self.blocks if isinstance(block, Block)]


def patch_tokens(stem: nn.Conv3d, frames: Tensor) -> Tensor:
    """Tokens [B, F * P, d] of `frames` [B, F, C, h, w], ordered frame, row, column."""
    # A temporal kernel of 1 is a 2-D convolution of every frame, and that is faster.
    x = F.conv2d(
        frames.flatten(0, 1),
        stem.weight.squeeze(2),
        stem.bias,
        stride=(stem.stride[1], stem.stride[2]),
        padding=(int(stem.padding[1]), int(stem.padding[2])),
    )
    return x.flatten(2).transpose(1, 2).reshape(frames.shape[0], -1, x.shape[1])


def _row_by_row(layer: nn.Module, frames: Tensor) -> Tensor:
    """`layer` of conditions of frames [B, F, n], on a CPU without gradients each row by itself.

    Few rows of an odd number of inputs (145 in the embedded model) are summed there in an order
    that depends on where in the batch a row is.
    """
    if len(frames) == 1 or frames.device.type != "cpu" or torch.is_grad_enabled():
        return layer(frames)
    return torch.cat([layer(row) for row in frames.split(1)])


def _reordered(x: Tensor, order: Tensor) -> Tensor:
    """Tokens `x` [B, F * P, d] with those of each frame in `order` [P]."""
    return x.unflatten(1, (-1, len(order)))[:, :, order].flatten(1, 2)


def _silu_mlp(inputs: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, dim), nn.SiLU(), nn.Linear(dim, dim))


def _silent_parts(student: CausalStudent) -> list[nn.Module]:
    """The layers that start at zero, so that what they belong to changes nothing yet."""
    optional: list[nn.Module | None] = [
        student.draft,
        student.cond_encoder,
        student.trainable_cond_mask,
    ]
    if student.frame_embedding is not None:
        optional.append(student.frame_embedding[2])
    for block in student.wan_blocks():
        optional.append(block.cross_attn.v_img)
    if student.audio_injector is not None:
        modules = student.audio_injector.modules()
        optional += [module.o for module in modules if isinstance(module, QKVO)]
    return [student.head.head, *(part for part in optional if part is not None)]


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
    for part in _silent_parts(student):
        _zero(part)
    for block in student.blocks:
        if isinstance(block, Block) and block.audio_attn is not None:
            _zero(block.audio_attn.o)


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
