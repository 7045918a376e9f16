"""The pocket student as streams use it: the same sums in less than half of the operator calls.

At 64 tokens a call costs as much as what it computes. So weights are made ready once: a norm's own
weights go into the projection behind it, queries, keys and values are one product, and so are the
speech tokens' keys and values of all layers; the stem's product with a look's picture is kept while
the look is shown, and tracks enter it in one step instead of three. Convolutions are products with
the neighbourhoods of all cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ...kernels.dispatch import attention
from ..student.blocks import Attend, Block, CrossAttention, FusedAttend
from ..student.causal_student import NO_CONDITIONS, CausalStudent
from ..student.conditioning import Conditions, for_batch
from ..student.config import StudentConfig
from ..student.step_graphs import StepInputs, Times

_GELU = 2 * math.sqrt(2 / math.pi)
_SCALES = (1, 4)
"""Among a layer's six modulations: what a norm is multiplied by, less one."""


class StreamStudent(CausalStudent):
    """A `CausalStudent` of the pocket model's shape, on a CPU; call `make_ready` once it is filled.

    What it takes, leaves in caches and gives is the same, but for the order of sums. Only calls of
    one latent frame are made this way, others as `CausalStudent` does.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self._ready: _Ready | None = None
        self._waves: dict[float, Tensor] = {}

    @torch.no_grad()
    def make_ready(self) -> None:
        """Make of the weights what calls need; they have to stay as they are from then on."""
        self.pack()
        self._times_kept = None
        self._ready = _Ready(self)

    def _times(
        self, timesteps: Tensor, latents: Tensor, conditions: Conditions, order: Tensor | None
    ) -> Times:
        ready = self._ready
        if ready is None or latents.shape[1] != 1:
            return super()._times(timesteps, latents, conditions, order)
        conditions.check(self.config, 1)
        waves = [self._wave(float(time)) for time in timesteps[:, 0]]
        waved = waves[0] if len(waves) == 1 else torch.cat(waves)
        assert self.frame_embedding is not None and conditions.frames is not None
        return Times(waved + _row_by_row(self.frame_embedding, conditions.frames))

    def _wave(self, time: float) -> Tensor:
        """The embedding [1, 1, d] of a time; there are as many as a model has steps, and one."""
        if time not in self._waves:
            alone = torch.tensor([[time]])
            with torch.inference_mode(False), torch.no_grad():
                self._waves[time] = self._embed_time(alone, NO_CONDITIONS)
        return self._waves[time]

    def _predict(
        self, inputs: StepInputs, attends: Sequence[Attend | FusedAttend], order: Tensor | None
    ) -> Tensor:
        ready, latents = self._ready, inputs.latents
        if ready is None or latents.shape[1] != 1:
            return super()._predict(inputs, attends, order)
        assert order is None, "the pocket student's attention is dense"
        return ready.predict(self, inputs, attends)


class _Ready:
    """What `StreamStudent` makes of its weights; tokens are [B * P, d] here."""

    def __init__(self, student: CausalStudent) -> None:
        config = student.config
        assert config.grid is not None
        self._rows, self._columns = config.grid
        self._tokens, self._dim = self._rows * self._columns, config.dim
        self._eps, self._heads = config.eps, config.num_heads
        self._seen = WeakIdKeyDictionary()
        self._make_stem(student)
        self._layers = [_Layer(block) for block in student.wan_blocks()]
        own = torch.cat([block.modulation.detach() for block in student.wan_blocks()]).clone()
        own[:, _SCALES] += 1
        self._modulation = own[:, None]
        head = student.head.modulation.detach().clone()
        head[:, 1] += 1
        self._head_modulation = head
        assert isinstance(student.head.head, nn.Conv2d)
        self._head = _by_neighbours(student.head.head.weight.detach())
        self._head_bias = student.head.head.bias
        self._make_audio(student)
        # one row of inputs goes through a large matrix faster column by column
        assert student.draft is not None
        self._draft = student.draft.weight.detach().T.contiguous()
        student.draft.weight = nn.Parameter(self._draft.T, requires_grad=False)
        self._draft_bias = student.draft.bias.detach()

    def predict(
        self,
        student: CausalStudent,
        inputs: StepInputs,
        attends: Sequence[Attend | FusedAttend],
    ) -> Tensor:
        """As `CausalStudent._predict`."""
        latents, conditions, embedding = inputs.latents, inputs.conditions, inputs.times.embedding
        batch = len(latents)
        assert conditions.frames is not None and conditions.audio is not None
        rows = [torch.addmm(self._draft_bias, f, self._draft) for f in conditions.frames.unbind(0)]
        draft = (rows[0] if batch == 1 else torch.cat(rows)).view(latents.shape)
        x = self._stem(latents, draft, conditions)
        heard = self._hear(conditions.audio)
        shared = student.time_projection(embedding).view(1, batch, 6, self._dim)
        modulations = (self._modulation + shared).unsqueeze(3)
        layers = zip(self._layers, modulations, attends, inputs.context.layers, heard, strict=True)
        for layer, modulation, attend, text, audio in layers:
            x = self._block(layer, x, modulation, attend, for_batch(text, batch), audio)
        shift, scale = (self._head_modulation + embedding).unsqueeze(2).unbind(1)
        maps = self._modulate(x, shift, scale).view(batch, self._rows, self._columns, -1)
        out = F.linear(_neighbourhoods(maps), self._head, self._head_bias)
        out = out.view(batch, self._tokens, -1).transpose(1, 2).reshape(latents.shape).add_(draft)
        return out if conditions.base is None else out.add_(conditions.base)

    def _make_stem(self, student: CausalStudent) -> None:
        config, stem, tracks = student.config, student.patch_embedding, student.track_head
        assert stem.bias is not None and tracks is not None
        weight = stem.weight.detach().squeeze(2)
        parts = [2 * config.out_channels, config.extra_channels, config.track_features]
        told, seen, moved = weight.split(parts, 1)
        # what the two layers of the track head do, in one: [features, frames * channels]
        mix = tracks.mix.weight.detach().flatten(1)
        temporal = tracks.temporal.weight.detach().transpose(1, 2).flatten(1)
        gathered = torch.einsum("ofhw,fi->oihw", moved, mix @ temporal)
        offset = torch.zeros(len(mix), dtype=mix.dtype)
        if tracks.mix.bias is not None and tracks.temporal.bias is not None:
            offset = mix @ tracks.temporal.bias.detach() + tracks.mix.bias.detach()
        self._stem_weight = _by_neighbours(told)
        self._moved_weight = _by_neighbours(gathered)
        self._seen_weight = _by_neighbours(seen)
        # the track head's bias, as the stem sees it where nothing moves: less at the borders
        still = offset.expand(1, self._rows, self._columns, -1)
        rest = _neighbourhoods(still) @ _by_neighbours(moved).T
        self._rest = rest + stem.bias.detach()

    def _stem(self, latents: Tensor, draft: Tensor, conditions: Conditions) -> Tensor:
        """Tokens of the latents, the draft, the look's picture and tracks."""
        assert conditions.channels is not None and conditions.tracks is not None
        x = self._see(conditions.channels)
        told = torch.cat((latents, draft), 2).flatten(0, 1).permute(0, 2, 3, 1)
        x = torch.addmm(x, _neighbourhoods(told), self._stem_weight.T)
        if not conditions.tracks.any():
            return x
        tracks = conditions.tracks.flatten(1, 2).permute(0, 2, 3, 1)
        return x.addmm_(_neighbourhoods(tracks), self._moved_weight.T)

    def _see(self, channels: Tensor) -> Tensor:
        """What tokens begin with, of what is seen of the looks' pictures."""
        found = self._seen.get(channels)
        if found is None:
            maps = channels.flatten(0, 1).permute(0, 2, 3, 1)
            whole = self._rest.repeat(len(maps), 1)
            found = torch.addmm(whole, _neighbourhoods(maps), self._seen_weight.T)
            self._seen[channels] = found
        return found

    def _make_audio(self, student: CausalStudent) -> None:
        """Speech to the keys and values of all layers: [A, layers * 2 * d] of [A, audio_dim]."""
        embedding = student.audio_embedding
        assert embedding is not None
        weights, biases, norms = [], [], []
        for block in student.wan_blocks():
            heard = block.audio_attn
            assert heard is not None
            for part in (heard.k, heard.v):
                weights.append(part.weight.detach() @ embedding.proj.weight.detach())
                places = embedding.place.detach() + embedding.proj.bias.detach()
                biases.append(F.linear(places, part.weight.detach(), part.bias.detach()))
            norms.append(heard.norm_k.weight.detach())
        self._audio, self._audio_bias = torch.cat(weights), torch.cat(biases, 1)
        self._audio_norm = torch.stack(norms)

    def _hear(self, audio: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values [B, H, A, D] of each layer, of speech [B, 1, A, audio_dim]."""
        made = F.linear(audio[:, 0], self._audio) + self._audio_bias
        keys, values = made.unflatten(2, (-1, 2, self._dim)).unbind(3)
        keys = _rms_norm(keys, self._audio_norm, self._eps)

        def heads(x: Tensor) -> tuple[Tensor, ...]:
            return x.unflatten(3, (self._heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

        return list(zip(heads(keys), heads(values), strict=True))

    def _block(
        self,
        layer: _Layer,
        x: Tensor,
        modulation: Tensor,
        attend: Attend | FusedAttend,
        text: tuple[Tensor, Tensor],
        audio: tuple[Tensor, Tensor],
    ) -> Tensor:
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = modulation.unbind(1)
        branch = self._attend(layer, self._modulate(x, shift, scale), attend)
        x = _gated(x, branch, gate)
        x = x + layer.text(self._norm(x), text)
        x = x + layer.audio(self._norm(x), audio)
        first, last = layer.feed_forward
        inner = F.linear(self._modulate(x, ffn_shift, ffn_scale), first.weight, first.bias)
        return _gated(x, F.linear(_gelu(inner), last.weight, last.bias), ffn_gate)

    def _attend(self, layer: _Layer, x: Tensor, attend: Attend | FusedAttend) -> Tensor:
        """Self-attention's branch."""
        own = layer.own
        product = F.linear(x, *layer.packed).view(-1, self._tokens, 3, self._dim)
        if callable(attend):
            normed = _rms_norm(product[:, :, :2], layer.norms, self._eps)
            shape = (3, self._heads, -1)
            query, key = normed.unflatten(3, shape[1:]).permute(2, 0, 3, 1, 4).unbind(0)
            value = product[:, :, 2].unflatten(2, shape[1:]).transpose(1, 2)
            made = attend(query, key, value)
        else:
            made = attend.attend_projected(own, *product.unbind(2))
        return F.linear(made.transpose(1, 2).reshape(x.shape), own.o.weight, own.o.bias)

    def _norm(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], eps=self._eps)

    def _modulate(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """norm(x) * scale + shift; those are [B, 1, d]."""
        if len(shift) == 1:
            return F.layer_norm(x, x.shape[-1:], scale.flatten(), shift.flatten(), self._eps)
        normed = self._norm(x).unflatten(0, (len(shift), -1))
        return torch.addcmul(shift, normed, scale).flatten(0, 1)


class _Layer:
    """A block's weights."""

    def __init__(self, block: Block) -> None:
        self.own = own = block.self_attn
        packed = own.packed
        assert packed is not None and block.audio_attn is not None
        assert block.norm_audio is not None
        self.packed = (packed[0].detach(), packed[1].detach())
        self.norms = torch.stack((own.norm_q.weight.detach(), own.norm_k.weight.detach()))
        self.text = _Cross(block.cross_attn, block.norm3)
        self.audio = _Cross(block.audio_attn, block.norm_audio)
        first, last = block.ffn[0], block.ffn[2]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        self.feed_forward = first, last


class _Cross:
    """Attention to keys and values made elsewhere, behind a norm whose weights are in it."""

    def __init__(self, part: CrossAttention, norm: nn.LayerNorm) -> None:
        weight = part.q.weight.detach()
        self._query = weight * norm.weight.detach()
        self._query_bias = part.q.bias.detach() + weight @ norm.bias.detach()
        self._norm, self._eps = part.norm_q.weight.detach(), part.norm_q.eps
        self._out, self._heads = part.o, part.heads

    def __call__(self, x: Tensor, seen: tuple[Tensor, Tensor]) -> Tensor:
        """The branch [B * P, d] of normed tokens; keys and values [B, H, M, D]."""
        key, value = seen
        query = _rms_norm(F.linear(x, self._query, self._query_bias), self._norm, self._eps)
        query = query.view(len(key), -1, self._heads, key.shape[3]).transpose(1, 2)
        made = attention(query, key, value).transpose(1, 2).reshape(x.shape)
        return F.linear(made, self._out.weight, self._out.bias)


def _row_by_row(layer: nn.Module, frames: Tensor) -> Tensor:
    """As in `causal_student`: what a row gives must not depend on where in a batch it is."""
    return layer(frames) if len(frames) == 1 else torch.cat([layer(f) for f in frames.split(1)])


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`kernels.dispatch.rms_norm` over the last dimension, in fewer passes."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    return (x * square.mul_(1 / x.shape[-1]).add_(eps).rsqrt_()).mul_(weight)


def _gated(x: Tensor, branch: Tensor, gate: Tensor) -> Tensor:
    """x + gate * branch of tokens [B * P, d]; `gate` [B, 1, d]."""
    split = (len(gate), -1)
    return torch.addcmul(x.unflatten(0, split), gate, branch.unflatten(0, split)).flatten(0, 1)


def _gelu(x: Tensor) -> Tensor:
    """The tanh form of GELU by the sigmoid, which a CPU has faster; x sigmoid(2 u)."""
    inner = torch.addcmul(x.new_tensor(_GELU), x, x, value=_GELU * 0.044715)
    return inner.mul_(x).sigmoid_().mul_(x)


def _neighbourhoods(maps: Tensor) -> Tensor:
    """[B * h * w, 9 * C] of maps [B, h, w, C]: each cell with the 3 x 3 around it, zero outside."""
    rows, columns = maps.shape[1:3]
    padded = F.pad(maps, (0, 0, 1, 1, 1, 1))
    near = [padded[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return torch.cat(near, 3).flatten(0, 2)


def _by_neighbours(weight: Tensor) -> Tensor:
    """A 3x3 convolution's weight [M, C, 3, 3] for `_neighbourhoods` [M, 9 * C]."""
    return weight.permute(0, 2, 3, 1).flatten(1)
