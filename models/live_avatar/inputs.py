"""Live Avatar's inputs: the sink made of a reference and past motion, and tokens of speech.

After Live Avatar (arXiv 2512.04677) and Wan2.2-S2V. The student is a `CausalStudent` whose config
has an `AvatarConfig`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...kernels.dispatch import attention
from ..student.blocks import Stream
from ..student.causal_student import CausalStudent, patch_tokens
from ..student.conditioning import TextContext
from ..student.rope import rotate
from ..student.token_sink import SinkTokens


@torch.no_grad()
def speech_tokens(
    student: CausalStudent, features: Tensor, history: Tensor | None = None
) -> Tensor:
    """`Conditions.speech` of a chunk from its `features` [B, layers, C, 4 * F].

    `history` as in `SpeechProjector.forward`: with the true features before the chunk, chunks
    equal the whole file. Raises ValueError for a student without speech.
    """
    if student.casual_audio_encoder is None:
        raise ValueError("this student hears no speech; its config has no avatar")
    return student.casual_audio_encoder(features, history)


@torch.no_grad()
def encode_sink(
    student: CausalStudent, reference: Tensor, motion: Tensor, context: TextContext
) -> SinkTokens:
    """The sink of `reference` [B, 1, C, h, w] and `motion` [B, F, C, h, w], seen at time 0.

    It follows from its arguments alone: made once, it serves every step's cache, from whatever
    chunk on. Raises ValueError for a student without one.
    """
    packer, mark = student.frame_packer, student.trainable_cond_mask
    places = student.sink_places(reference.shape[3], reference.shape[4])
    if packer is None or mark is None or places is None:
        raise ValueError("this student has no reference; its config has no avatar")
    x = torch.cat(
        (
            patch_tokens(student.patch_embedding, reference) + mark.weight[1],
            packer(motion) + mark.weight[2],
        ),
        dim=1,
    )
    rotations = places.first_rotations()
    kept: list[tuple[Tensor, Tensor]] = []

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        kept.append((key, value))
        return attention(rotate(query, rotations), rotate(key, rotations), value)

    stream, modulations = (
        Stream(x),
        student.modulations(torch.zeros(x.shape[0], 1, device=x.device)),
    )
    blocks = zip(student.wan_blocks(), modulations, context.layers, strict=True)
    for block, modulation, text in blocks:
        stream = block(stream, modulation, attend, text, None)
    return SinkTokens(tuple(kept))
