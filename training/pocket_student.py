"""The student as training sees it: whole sequences in one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rollcast.models.pocket.config import CACHE, STUDENT
from rollcast.models.pocket.prompt import TokenEmbedding
from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.conditioning import Conditions

from .sequences import Batch, References, Sequences


class PocketStudent(nn.Module):
    """The student and its word embedding: what training optimises."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.student = CausalStudent(STUDENT)
        self.words = TokenEmbedding(tokens, STUDENT.text_len, STUDENT.text_dim)

    def forward(
        self, batch: Batch, references: References, noisy: Tensor, timestep: float | Tensor
    ) -> Tensor:
        """Samples [B, F, 112, 8, 8] from `noisy` chunks, the reference picture before them.

        `timestep` is that of all clips, or one for each [B].
        """
        look = batch.look
        count, chunks = noisy.shape[:2]
        base = references.base[look]
        conditions = Conditions(
            frames=_with_reference(batch.frame),
            audio=_with_reference(batch.speech),
            tracks=F.pad(batch.tracks, _before(4, batch.tracks.ndim)),
            channels=references.channels[look],
            base=torch.cat([base, references.moved_base(batch)], 1),
        )
        times = torch.zeros(count, chunks + 1)
        times[:, 1:] = torch.as_tensor(timestep).reshape(-1, 1)
        out = self.student.forward_sequence(
            torch.cat([base, noisy], 1),
            times,
            self.student.encode_text(self.words(batch.words)),
            conditions,
            cache=CACHE,
            chunk_frames=1,
        )
        return out[:, 1:]


def _before(count: int, ndim: int) -> list[int]:
    """`F.pad` argument for `count` zero rows at the start of dimension 1."""
    return [0, 0] * (ndim - 2) + [count, 0]


def _with_reference(x: Tensor) -> Tensor:
    """`x` [B, F, ...] with zeros for the reference frame before it."""
    return F.pad(x, _before(1, x.ndim))


@torch.no_grad()
def fit_draft(model: PocketStudent, train: Sequences, references: References) -> float:
    """Initialise the student's linear draft by ridge regression; share of variance explained."""
    clips = train.avatars
    chunks = train.clips.length // 4 - 1
    inputs, outputs = [], []
    for offset in range(4):
        batch = train.cut(clips, torch.full_like(clips, offset), chunks)
        inputs.append(batch.frame.flatten(0, 1))
        outputs.append((batch.latents - references.moved_base(batch)).flatten(0, 1).flatten(1))
    x, y = torch.cat(inputs), torch.cat(outputs)
    x1 = torch.cat([x, torch.ones(len(x), 1)], 1)
    ridge = 20 * torch.eye(x1.shape[1])
    solution = torch.linalg.solve(x1.T @ x1 + ridge, x1.T @ y)
    draft = model.student.draft
    assert draft is not None
    draft.weight.copy_(solution[:-1].T)
    draft.bias.copy_(solution[-1])
    return 1 - float((x1 @ solution - y).square().mean() / y.square().mean())
