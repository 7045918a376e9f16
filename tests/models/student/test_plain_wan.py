"""Wan's transformer written out in float64: image beside text, a time for every token."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.config import CacheConfig

StudentMaker = Callable[..., CausalStudent]
FRAMES, ROWS, COLUMNS = 2, 2, 3
TOKENS = FRAMES * ROWS * COLUMNS


class PlainWan:
    """One pass over a clip without a past, of a student's weights by name."""

    def __init__(self, student: CausalStudent) -> None:
        self.weights = {name: t.double() for name, t in student.state_dict().items()}
        self.heads, self.layers = student.config.num_heads, student.config.num_layers

    def run(self, x: Tensor, times: Tensor, text: Tensor, image: Tensor | None) -> Tensor:
        """Latents `x` [F, C, h, w], `times` [F * tokens], `text` [L, D], `image` [N, I]."""
        kernel, bias = self.weights["patch_embedding.weight"], self.weights["patch_embedding.bias"]
        patches = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).permute(0, 2, 4, 1, 3, 5)
        h = patches.reshape(TOKENS, -1) @ kernel.flatten(1).T + bias
        half = self.weights["time_embedding.0.weight"].shape[1] // 2
        angles = times[:, None] * 10_000.0 ** -(torch.arange(half).double() / half)
        waves = torch.cat((angles.cos(), angles.sin()), 1)
        time = self._linear("time_embedding.2", F.silu(self._linear("time_embedding.0", waves)))
        turns = self._linear("time_projection.1", F.silu(time)).view(TOKENS, 6, -1)
        words = F.gelu(self._linear("text_embedding.0", text), approximate="tanh")
        words = self._linear("text_embedding.2", words)
        seen = None if image is None else self._image(image)
        for layer in range(self.layers):
            h = self._block(f"blocks.{layer}.", h, turns, words, seen)
        shift, scale = (self.weights["head.modulation"] + time[:, None]).unbind(1)
        out = self._linear("head.head", _norm(h) * (1 + scale) + shift)
        out = out.view(FRAMES, ROWS, COLUMNS, 2, 2, -1).permute(0, 5, 1, 3, 2, 4)
        return out.reshape(FRAMES, -1, 2 * ROWS, 2 * COLUMNS)

    def _block(
        self, name: str, h: Tensor, turns: Tensor, words: Tensor, seen: Tensor | None
    ) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = (
            self.weights[f"{name}modulation"] + turns
        ).unbind(1)
        own = _norm(h) * (1 + scale) + shift
        query, key, value = self._qkv(f"{name}self_attn.", own, own)
        h = h + gate * self._attend(f"{name}self_attn.", [(_turned(query), _turned(key), value)])
        asks = F.layer_norm(
            h, h.shape[-1:], self.weights[f"{name}norm3.weight"], self.weights[f"{name}norm3.bias"],
            1e-6,
        )  # fmt: skip
        parts = [self._qkv(f"{name}cross_attn.", asks, words)]
        if seen is not None:
            key = self._rms(f"{name}cross_attn.norm_k_img", f"{name}cross_attn.k_img", seen)
            value = self._split(self._linear(f"{name}cross_attn.v_img", seen))
            parts.append((parts[0][0], key, value))
        h = h + self._attend(f"{name}cross_attn.", parts)
        wide = F.gelu(
            self._linear(f"{name}ffn.0", _norm(h) * (1 + scale2) + shift2), approximate="tanh"
        )
        return h + gate2 * self._linear(f"{name}ffn.2", wide)

    def _image(self, image: Tensor) -> Tensor:
        first, second = (
            (self.weights[f"img_emb.proj.{k}.weight"], self.weights[f"img_emb.proj.{k}.bias"])
            for k in (0, 4)
        )
        x = F.layer_norm(image, image.shape[-1:], *first, 1e-5)
        x = self._linear("img_emb.proj.1", x)
        x = self._linear("img_emb.proj.3", 0.5 * x * (1 + torch.erf(x / math.sqrt(2))))
        return F.layer_norm(x, x.shape[-1:], *second, 1e-5)

    def _qkv(self, name: str, asks: Tensor, told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query = self._rms(f"{name}norm_q", f"{name}q", asks)
        key = self._rms(f"{name}norm_k", f"{name}k", told)
        return query, key, self._split(self._linear(f"{name}v", told))

    def _attend(self, name: str, parts: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        total = sum(
            torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1) @ v
            for q, k, v in parts
        )
        assert isinstance(total, Tensor)
        return self._linear(f"{name}o", total.transpose(0, 1).flatten(1))

    def _rms(self, norm: str, layer: str, x: Tensor) -> Tensor:
        x = self._linear(layer, x)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.weights[f"{norm}.weight"]
        return self._split(x)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], self.heads, -1).transpose(0, 1)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _turned(x: Tensor) -> Tensor:
    """RoPE of frame, row and column, each on its own part of the head."""
    size = x.shape[-1]
    parts = (size - 4 * (size // 6), 2 * (size // 6), 2 * (size // 6))
    places = torch.cartesian_prod(
        torch.arange(FRAMES), torch.arange(ROWS), torch.arange(COLUMNS)
    ).double()
    angles = torch.cat(
        [
            places[:, axis, None] * 10_000.0 ** -(torch.arange(0, part, 2).double() / part)
            for axis, part in enumerate(parts)
        ],
        1,
    )
    even, odd = x[..., ::2], x[..., 1::2]
    turned = even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()
    return torch.stack(turned, -1).flatten(-2)


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("times", ["one", "frames", "tokens"])
@pytest.mark.parametrize("waves", ["float64", "float32"])
def test_equals_wan_written_out(
    make_student: StudentMaker, image: bool, times: str, waves: str
) -> None:
    torch.manual_seed(1)
    student = make_student(image_dim=7 if image else 0, time_waves=waves).double()
    x = torch.randn(FRAMES, 4, 2 * ROWS, 2 * COLUMNS).double()
    text, picture = torch.randn(5, 10).double(), torch.randn(6, 7).double()
    given = {
        "one": torch.full((1,), 700.5),
        "frames": torch.tensor([0.0, 700.5]),
        "tokens": torch.linspace(3.0, 999.0, TOKENS),
    }[times]
    plain = given.double().repeat_interleave(TOKENS // len(given))
    wanted = PlainWan(student).run(x, plain, text, picture if image else None)
    cache = student.new_cache(CacheConfig(window_frames=FRAMES), height=2 * ROWS, width=2 * COLUMNS)
    context = student.encode_text(text[None], picture[None] if image else None)
    made = student(x[None], given[None], context, cache)[0]
    # Sinusoids in float32 differ as their angles do, by 1000 * 2**-24; rotations are float32.
    close = 2e-3 if waves == "float32" else 2e-5
    torch.testing.assert_close(made, wanted, atol=close, rtol=0)
    assert (made - wanted).abs().max() / wanted.abs().max() < close


def test_an_image_is_for_students_that_attend_to_one(make_student: StudentMaker) -> None:
    with pytest.raises(ValueError, match="attends to no image"):
        make_student().encode_text(torch.zeros(1, 5, 10), torch.zeros(1, 6, 7))


def test_rows_of_a_batch_have_their_own_images(make_student: StudentMaker) -> None:
    torch.manual_seed(2)
    student = make_student(image_dim=7)
    contexts = [student.encode_text(torch.randn(1, 5, 10), torch.randn(1, 6, 7)) for _ in range(2)]
    x, times = torch.randn(2, 1, 4, 4, 4), torch.full((2, 1), 500.0)

    def caches(count: int) -> list:
        return [
            student.new_cache(CacheConfig(window_frames=2), height=4, width=4) for _ in range(count)
        ]

    both = student.forward_rows(x, times, contexts, caches(2))
    for row in range(2):
        alone = student(x[row : row + 1], times[:1], contexts[row], caches(1)[0])
        torch.testing.assert_close(both[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_times_of_tokens_know_no_frames(
    make_student: StudentMaker, make_conditions: Callable[[CausalStudent, int], Conditions]
) -> None:
    student = make_student(conditioned=True)
    conditions = make_conditions(student, 1)
    cache = student.new_cache(CacheConfig(window_frames=1), height=4, width=4)
    context = student.encode_text(torch.zeros(1, 5, 10))
    with pytest.raises(ValueError, match="one for each token"):
        student(torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 16), context, cache, conditions)
