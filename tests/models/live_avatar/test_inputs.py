"""Live Avatar against a plain float64 computation of the published one, and as a golden case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rollcast.models.live_avatar.inputs import encode_sink, speech_tokens
from rollcast.models.parity.cases import report_cases
from rollcast.models.sampling.denoising import sample_chunk
from rollcast.models.sampling.euler import Euler, EulerSchedule
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions
from rollcast.models.student.config import CacheConfig

from ...variants import some_of
from .published_avatar import AVATAR, CHUNK, SIDE, Published

StudentMaker = Callable[..., CausalStudent]
SCHEDULE = EulerSchedule.shifted_twice(3)


@pytest.fixture
def avatar(make_student: StudentMaker) -> CausalStudent:
    student = make_student(avatar=AVATAR)
    assert student.casual_audio_encoder is not None
    student.casual_audio_encoder.weights.uniform_(0.5, 1.0)
    return student.double()


@pytest.mark.parametrize(
    ("distance", "window", "swap"), [(15, 4, None), (4, 4, 1), (30, 6, 3), (29, 2, 2)]
)
def test_equals_the_published_computation(
    avatar: CausalStudent, distance: int, window: int, swap: int | None
) -> None:
    """Seven chunks: the ring wraps, and at 30 frames ahead the reference moves from the start."""
    torch.manual_seed(1)
    draw: dict[str, Any] = {"dtype": torch.float64}
    text, reference = torch.randn(3, 10, **draw), torch.randn(1, 4, SIDE, SIDE, **draw)
    motion = torch.randn(17, 4, SIDE, SIDE, **draw)
    wanted = Published(avatar, distance, window, SCHEDULE)
    wanted.read(text)
    context = avatar.encode_text(text[None])
    config = CacheConfig(window_frames=window, rolling_distance=distance)
    caches = [avatar.new_cache(config, height=SIDE, width=SIDE) for _ in SCHEDULE.timesteps]
    first = reference
    for chunk in range(7):
        if chunk in (0, swap):
            wanted.prefill(first, motion)
            sink = encode_sink(avatar, first[None], motion[None], context)
            for cache in caches:
                cache.set_sink(sink)
        noise = torch.randn(CHUNK, 4, SIDE, SIDE, **draw)
        features = torch.randn(3, 6, 4 * CHUNK, **draw)
        expected = noise
        for step in range(len(SCHEDULE.timesteps)):
            expected = wanted.step(expected, step, chunk * CHUNK, features)
        conditions = Conditions(speech=speech_tokens(avatar, features[None]))
        made = sample_chunk(avatar, caches, noise[None], Euler(SCHEDULE), context, conditions)[0]
        # Rotations are kept in complex64.
        torch.testing.assert_close(made, expected, atol=2e-5, rtol=0)
        if chunk == 0:
            first = made[:1]


def write_case(
    folder: Path, student: CausalStudent, *, steps: int, window: int, distance: int, **more: Any
) -> Path:
    """A golden case as `rollcast parity` reads it, computed in float64.

    Long enough for the reference to move: it stands at frame 30 or `distance` ahead.
    """
    schedule = EulerSchedule.shifted_twice(steps)
    published = Published(student, distance, window, schedule, half_rope=True)
    swap = more.get("sink_swap_at_block")
    blocks = max(8, (30 - distance) // CHUNK + 2)
    torch.manual_seed(2)
    noise = torch.randn(blocks, 4, CHUNK, SIDE, SIDE)
    inputs = {
        "noise": noise,
        "audio": torch.randn(1, 3, 6, 4 * CHUNK * blocks),
        "text": torch.randn(3, 10),
        "ref": torch.randn(1, 4, 1, SIDE, SIDE),
        "motion": torch.randn(1, 4, 19, SIDE, SIDE),
    }
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    published.read(exact["text"])
    reference, motion = (exact[name][0].transpose(0, 1) for name in ("ref", "motion"))
    outputs: dict[str, Tensor] = {}
    for block in range(blocks):
        if block in (0, swap):
            published.prefill(reference, motion)
        latents = exact["noise"][block].transpose(0, 1)
        speech = exact["audio"][0, ..., 4 * CHUNK * block : 4 * CHUNK * (block + 1)]
        for step in range(steps):
            latents = published.step(latents, step, block * CHUNK, speech)
            outputs[f"made/block{block}_step{step}_x"] = latents.transpose(0, 1).float()
        outputs[f"made/block{block}_x0"] = outputs[f"made/block{block}_step{steps - 1}_x"]
        reference = latents[:1] if block == 0 else reference
    weights = {name: tensor.float() for name, tensor in student.state_dict().items()}
    for name, tensors in (("weights", weights), ("inputs", inputs), ("outputs", outputs)):
        plain = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
        save_file(plain, folder / f"{name}.safetensors")
    tokens = (SIDE // 2) ** 2
    case = {
        "name": "made",
        "family": "live_avatar",
        "weights": "weights.safetensors",
        "inputs": "inputs.safetensors",
        "outputs": "outputs.safetensors",
        "output_prefix": "made/",
        "rel_dist": distance,
        "tolerance": 2e-5,
        "config": {
            "dim": 48, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "in_dim": 4, "out_dim": 4,
            "text_dim": 10, "text_len": 5, "freq_dim": 16, "eps": 1e-6, "patch": [1, 2, 2],
            "cond_dim": 4, "audio_dim": 6, "num_audio_token": 2, "audio_inject_layers": [1],
        },
        "setup": {
            "cache_tokens": window * tokens,
            "tokens_per_latent_frame": tokens,
            "latent_block": [4, CHUNK, SIDE, SIDE],
            "audio_frames_per_block": 4 * CHUNK,
            "steps": steps,
            "timesteps": schedule.timesteps,
            "sigmas": schedule.sigmas,
        },
    }  # fmt: skip
    for name, value in more.items():
        part = next((part for part in ("config", "setup") if name in case[part]), None)
        (case if part is None else case[part])[name] = value
    path = folder / "made.json"
    path.write_text(json.dumps(case))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("steps", some_of([1, 2, 3, 4], 3))
@pytest.mark.parametrize(
    ("distance", "window", "swap"), [(4, 4, None), (21, 6, 1), (30, 2, 4), (17, 8, 7)]
)
def test_a_golden_case_of_any_length_distance_steps_and_swap_passes(
    avatar: CausalStudent, tmp_path: Path, steps: int, distance: int, window: int, swap: int | None
) -> None:
    """What `rollcast parity` runs, for cases that differ from the recorded one in everything."""
    about: dict[str, Any] = {"steps": steps, "distance": distance, "window": window}
    path = write_case(tmp_path, avatar, **about, sink_swap_at_block=swap)
    (report,) = report_cases([path])
    assert report.error is None and report.passed, (report.error, report.chunk_differences)
    assert len(report.chunk_differences) >= 8
    case = json.loads(path.read_text())
    for wrong in ({"rel_dist": distance + 1}, {"sink_swap_at_block": 3}):
        path.write_text(json.dumps(case | wrong))
        assert not report_cases([path])[0].passed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sink_swap_at_block": 0}, "sink_swap_at_block 0"),
        ({"sink_swap_at_block": [3]}, "sink_swap_at_block [3]"),
        ({"rel_dist": [4, 5]}, "rel_dist [4, 5]"),
        ({"timesteps": [1000.0]}, "setup.steps 2"),
        ({"cache_tokens": 40}, "setup.cache_tokens 40"),
        ({"setup": {}}, "no timesteps"),
        ({"sigmas": [1.0]}, "sigmas"),
        ({"outputs": "made.json"}, "SafetensorError"),
    ],
)
def test_a_case_that_makes_no_sense_is_told(
    avatar: CausalStudent, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write_case(tmp_path, avatar, steps=2, distance=5, window=4, **changes)
    (report,) = report_cases([path])
    assert not report.passed and message in (report.error or ""), report


def test_a_field_that_is_not_understood_is_named_if_the_case_differs(
    avatar: CausalStudent, tmp_path: Path
) -> None:
    path = write_case(tmp_path, avatar, steps=2, distance=5, window=4)
    case = json.loads(path.read_text())
    case["setup"]["echo"] = 7
    path.write_text(json.dumps(case))
    assert report_cases([path])[0].passed
    path.write_text(json.dumps(case | {"rel_dist": 6}))
    assert "not understood: setup.echo" in (report_cases([path])[0].error or "")
