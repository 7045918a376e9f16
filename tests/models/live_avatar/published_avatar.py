"""A plain float64 computation of the published Live Avatar, written from the paper.

It knows no cache: it keeps every key of every step and recomputes what a chunk sees.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.sampling.euler import EulerSchedule
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import AvatarConfig

AVATAR = AvatarConfig(
    pose_channels=4, audio_layers=3, audio_dim=6, audio_tokens=2, inject_layers=(1,)
)
SIDE, CHUNK = 8, 2


class Published:
    """Tokens are rows [N, d], heads [H, N, D]; one stream, everything float64.

    `half_rope` rounds rotations to float16, as the published code does.
    """

    def __init__(
        self,
        student: CausalStudent,
        distance: int,
        window: int,
        schedule: EulerSchedule,
        *,
        half_rope: bool = False,
    ) -> None:
        self.schedule = schedule
        self.half_rope = half_rope
        self.w = {name: tensor.double() for name, tensor in student.state_dict().items()}
        self.config = student.config
        self.distance, self.window = distance, window
        self.past: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        self.sink: list[tuple[Tensor, Tensor]] = []

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def conv(self, x: Tensor, name: str) -> Tensor:
        """Tokens of frames [F, C, h, w]."""
        kernel = self.w[f"{name}.weight"]
        y = F.conv3d(
            x.transpose(0, 1)[None], kernel, self.w[f"{name}.bias"], stride=kernel.shape[2:]
        )
        return y[0].flatten(1).T

    def project(self, x: Tensor, name: str, norm: str | None = None) -> Tensor:
        y = self.linear(x, name)
        if norm:
            y = y * (y.square().mean(1, keepdim=True) + 1e-6).rsqrt() * self.w[f"{norm}.weight"]
        return y.unflatten(1, (self.config.num_heads, -1)).transpose(0, 1)

    def attend(self, x: Tensor, name: str, keys: Tensor, values: Tensor, query: Tensor) -> Tensor:
        scores = query @ keys.transpose(1, 2) / query.shape[2] ** 0.5
        mixed = (scores.softmax(2) @ values).transpose(0, 1).flatten(1)
        return self.linear(mixed, f"{name}.o")

    def cross(self, x: Tensor, name: str, context: Tensor) -> Tensor:
        keys = self.project(context, f"{name}.k", f"{name}.norm_k")
        values = self.project(context, f"{name}.v")
        return self.attend(x, name, keys, values, self.project(x, f"{name}.q", f"{name}.norm_q"))

    def turn(self, x: Tensor, places: list[tuple[int, int, int]]) -> Tensor:
        dim = x.shape[2]
        spatial = 2 * (dim // 6)
        angles: list[list[float]] = []
        for place in places:
            row: list[float] = []
            for position, width in zip(place, (dim - 2 * spatial, spatial, spatial), strict=True):
                row += [position * 10_000.0 ** (-2 * i / width) for i in range(width // 2)]
            angles.append(row)
        a = torch.tensor(angles, dtype=torch.float64)
        cos, sin = a.cos(), a.sin()
        if self.half_rope:
            cos, sin = cos.half().double(), sin.half().double()
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = (even * cos - odd * sin, even * sin + odd * cos)
        return torch.stack(turned, dim=3).flatten(2)

    def times(self, timestep: float) -> tuple[Tensor, Tensor]:
        half = self.config.freq_dim // 2
        angles = timestep * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        waves = torch.cat((angles.cos(), angles.sin()))[None]
        e = self.linear(F.silu(self.linear(waves, "time_embedding.0")), "time_embedding.2")
        return e, self.linear(F.silu(e), "time_projection.1").unflatten(1, (6, -1))[0]

    def norm(self, x: Tensor, eps: float = 1e-6) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred * (centred.square().mean(1, keepdim=True) + eps).rsqrt()

    def block(self, layer: int, x: Tensor, e: Tensor, see: Callable[..., Tensor]) -> Tensor:
        name = f"blocks.{layer}"
        shift, scale, gate, shift2, scale2, gate2 = self.w[f"{name}.modulation"][0] + e
        h = self.norm(x) * (1 + scale) + shift
        attention = f"{name}.self_attn"
        x = x + gate * see(
            h,
            attention,
            self.project(h, f"{attention}.q", f"{attention}.norm_q"),
            self.project(h, f"{attention}.k", f"{attention}.norm_k"),
            self.project(h, f"{attention}.v"),
        )
        affine = self.norm(x) * self.w[f"{name}.norm3.weight"] + self.w[f"{name}.norm3.bias"]
        x = x + self.cross(affine, f"{name}.cross_attn", self.text)
        h = F.gelu(
            self.linear(self.norm(x) * (1 + scale2) + shift2, f"{name}.ffn.0"), approximate="tanh"
        )
        return x + gate2 * self.linear(h, f"{name}.ffn.2")

    def read(self, text: Tensor) -> None:
        padded = F.pad(text, (0, 0, 0, self.config.text_len - len(text)))
        hidden = F.gelu(self.linear(padded, "text_embedding.0"), approximate="tanh")
        self.text = self.linear(hidden, "text_embedding.2")

    def places(self, start: int) -> list[tuple[int, int, int]]:
        """Of the sink's tokens for a chunk that begins at `start`."""
        half = SIDE // 2
        frame = max(30, start + self.distance)
        grid = [(frame, r, c) for r in range(half) for c in range(half)]
        grid += [(-1, r, c) for r in range(half) for c in range(half)]
        coarse = np.linspace(0, half - 1, SIDE // 4).astype(int).tolist()
        grid += [(-3, r, c) for r in coarse for c in coarse]
        return grid + [(-f, 0, 0) for f in (19, 14, 9, 4)]

    def prefill(self, reference: Tensor, motion: Tensor) -> None:
        padded = torch.cat((motion.new_zeros(max(0, 19 - len(motion)), *motion.shape[1:]), motion))
        parts = (("proj", 18, 19), ("proj_2x", 16, 18), ("proj_4x", 0, 16))
        tokens = [self.conv(padded[a:b], f"frame_packer.{name}") for name, a, b in parts]
        mark = self.w["trainable_cond_mask.weight"]
        x = torch.cat(
            (self.conv(reference, "patch_embedding") + mark[1], torch.cat(tokens) + mark[2])
        )
        places = [(30, *p[1:]) if p[0] > 0 else p for p in self.places(0)]
        self.sink = []

        def see(h: Tensor, name: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.sink.append((k, v))
            return self.attend(h, name, self.turn(k, places), v, self.turn(q, places))

        for layer in range(self.config.num_layers):
            x = self.block(layer, x, self.times(0.0)[1], see)

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [F, A, d] and the whole [F, d] of a chunk [layers, C, T], as published."""
        w = F.silu(self.w["casual_audio_encoder.weights"][0])
        mean = (torch.cat((features[..., :1].expand(-1, -1, 73), features), 2) * w).sum(0) / w.sum()

        def layer(x: Tensor, name: str, stride: int) -> Tensor:
            name = f"casual_audio_encoder.encoder.{name}.conv"
            padded = torch.cat((x[:, :1], x[:, :1], x), dim=1)[None]
            return F.conv1d(
                padded, self.w[f"{name}.weight"], self.w[f"{name}.bias"], stride=stride
            )[0]

        def smooth(x: Tensor) -> Tensor:
            return F.silu(self.norm(x.T)).T

        def deepen(x: Tensor) -> Tensor:
            return smooth(layer(smooth(layer(smooth(x), "conv2", 2)), "conv3", 2)).T[19:]

        heads = layer(mean, "conv1_local", 1).chunk(AVATAR.audio_tokens)
        padding = self.w["casual_audio_encoder.encoder.padding_tokens"][0, 0]
        tokens = [deepen(head) for head in heads]
        tokens.append(padding.expand_as(tokens[0]))
        whole = deepen(layer(mean, "conv1_global", 1))
        final = self.linear(whole, "casual_audio_encoder.encoder.final_linear")
        return torch.stack(tokens, dim=1), final

    def inject(self, x: Tensor, tokens: Tensor, whole: Tensor) -> Tensor:
        adain = self.linear(F.silu(whole), "audio_injector.injector_adain_layers.0.linear")
        frames: list[Tensor] = []
        for frame, audio, change in zip(x.chunk(CHUNK), tokens, adain, strict=True):
            shift, scale = change.chunk(2)
            h = self.norm(frame, 1e-5) * (1 + scale) + shift
            frames.append(frame + self.cross(h, "audio_injector.injector.0", audio))
        return torch.cat(frames)

    def step(self, latents: Tensor, step: int, start: int, features: Tensor) -> Tensor:
        x = self.conv(latents, "patch_embedding") + self.w["cond_encoder.bias"]
        x = x + self.w["trainable_cond_mask.weight"][0]
        embedding, e = self.times(self.schedule.timesteps[step])
        half, speech = SIDE // 2, self.hear(features)
        grid = [(start + f, r, c) for f in range(CHUNK) for r in range(half) for c in range(half)]
        for layer in range(self.config.num_layers):

            def see(
                h: Tensor, name: str, q: Tensor, k: Tensor, v: Tensor, at: int = layer
            ) -> Tensor:
                past = self.past.setdefault((step, at), [])
                past.append((self.turn(k, grid), v))
                seen = past[-(self.window // CHUNK) :]
                sink_keys, sink_values = self.sink[at]
                turned = self.turn(sink_keys, self.places(start))
                keys = torch.cat([k for k, _ in seen] + [turned], dim=1)
                values = torch.cat([v for _, v in seen] + [sink_values], dim=1)
                return self.attend(h, name, keys, values, self.turn(q, grid))

            x = self.block(layer, x, e, see)
            if layer in AVATAR.inject_layers:
                x = self.inject(x, *speech)
        shift, scale = self.w["head.modulation"][0] + embedding
        patches = self.linear(self.norm(x) * (1 + scale) + shift, "head.head")
        split = patches.reshape(CHUNK, half, half, 2, 2, -1)
        velocity = split.permute(0, 5, 1, 3, 2, 4).reshape(latents.shape)
        return latents + (self.schedule.sigmas[step + 1] - self.schedule.sigmas[step]) * velocity
