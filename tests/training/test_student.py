"""What the student is trained on is what a stream does."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rollcast.models.pocket.conditions import (
    FRAME_DIM,
    FRAME_FEATURES,
    GROUP,
    PACKED_CHANNELS,
    PACKED_TRACK_CHANNELS,
    REFERENCE_CHANNELS,
    VISEMES,
    frame_conditions,
)
from rollcast.models.pocket.config import CACHE, SHIFT, STEPS
from rollcast.models.sampling.denoising import denoise_chunk
from rollcast.models.sampling.flow_schedule import FlowSchedule
from rollcast.models.student.conditioning import Conditions
from training.pocket_student import PocketStudent
from training.sequences import Batch

CHUNKS = 8


@dataclass
class _References:
    base: Tensor
    channels: Tensor
    moved: Tensor

    def moved_base(self, batch: Batch) -> Tensor:
        return self.moved


def _batch() -> Batch:
    return Batch(
        latents=torch.randn(1, CHUNKS, PACKED_CHANNELS, 8, 8),
        groups=torch.randn(1, CHUNKS, GROUP, FRAME_FEATURES),
        tracks=torch.randn(1, 4 * CHUNKS, PACKED_TRACK_CHANNELS, 8, 8),
        flow=torch.zeros(1, 4 * CHUNKS, 2, 16, 16),
        pan=torch.zeros(1, 4 * CHUNKS, 2),
        look=torch.zeros(1, dtype=torch.long),
        words=torch.rand(1, 9),
        clip=torch.zeros(1, dtype=torch.long),
        start=torch.zeros(1, dtype=torch.long),
    )


@torch.no_grad()
def test_parallel_training_pass_equals_streaming_with_a_cache_per_step() -> None:
    torch.manual_seed(0)
    model = PocketStudent(tokens=9)
    for parameter in model.parameters():  # zero-initialised parts would hide differences
        parameter.add_(0.02 * torch.randn_like(parameter))
    references = _References(
        torch.randn(1, 1, PACKED_CHANNELS, 8, 8),
        torch.randn(1, 1, REFERENCE_CHANNELS, 8, 8),
        torch.randn(1, CHUNKS, PACKED_CHANNELS, 8, 8),
    )
    batch = _batch()
    noise = [torch.randn_like(batch.latents) for _ in STEPS]
    schedule = FlowSchedule(SHIFT)

    first = model(batch, references, noise[0], STEPS[0])  # type: ignore[arg-type]
    halfway = schedule.add_noise(first, noise[1], STEPS[1])
    second = model(batch, references, halfway, STEPS[1])  # type: ignore[arg-type]

    context = model.student.encode_text(model.words(batch.words))
    caches = [model.student.new_cache(CACHE, height=8, width=8) for _ in STEPS]
    blank = Conditions(
        frames=torch.zeros(1, 1, FRAME_DIM),
        audio=torch.zeros(1, 1, GROUP, VISEMES),
        tracks=torch.zeros(1, 4, PACKED_TRACK_CHANNELS, 8, 8),
        channels=references.channels,
        base=references.base,
    )
    for cache in caches:
        model.student(references.base, torch.zeros(1, 1), context, cache, blank)
        cache.advance(1)
        cache.poison()
    frames, speech = frame_conditions(batch.groups)
    for k in range(CHUNKS):
        conditions = Conditions(
            frames=frames[:, k : k + 1],
            audio=speech[:, k : k + 1],
            tracks=batch.tracks[:, 4 * k : 4 * k + 4],
            channels=references.channels,
            base=references.moved[:, k : k + 1],
        )
        made = denoise_chunk(
            model.student,
            caches,
            noise[0][:, k : k + 1],
            STEPS,
            context,
            conditions,
            schedule=schedule,
            renoise=lambda x, k=k: noise[1][:, k : k + 1],
        )
        # float32 sums in another order through five layers, twice
        torch.testing.assert_close(made, second[:, k : k + 1], atol=2e-4, rtol=1e-4)
