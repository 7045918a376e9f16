"""A tiny random wav2vec 2.0 and something to say to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from rollcast.models.live_avatar.speech_encoder import SpeechEncoder


def tiny_speech_config(**changes: Any) -> Wav2Vec2Config:
    """The published architecture, small; its convolutions in time are of the published lengths."""
    sizes: dict[str, Any] = {
        "vocab_size": 8,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": (16,) * 7,
        "feat_extract_norm": "layer",
        "conv_bias": True,
        "do_stable_layer_norm": True,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 4,
        "architectures": ["Wav2Vec2ForCTC"],
    }
    return Wav2Vec2Config(**(sizes | changes))


def tiny_speech_model(seed: int = 0, **changes: Any) -> Wav2Vec2Model:
    """Random weights, large enough that what is far away counts."""
    torch.manual_seed(seed)
    model = Wav2Vec2Model(tiny_speech_config(**changes)).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(
                parameter, std=0.3 if "k_proj" in name or "q_proj" in name else 0.2
            )
    return model


def tiny_speech_encoder(seed: int = 0) -> SpeechEncoder:
    """The encoder of `tiny_speech_model`."""
    return SpeechEncoder(tiny_speech_model(seed))


def babble(seconds: float, seed: int = 0) -> np.ndarray:
    """int16 of something that rises and falls as syllables do, with pauses."""
    generator = np.random.default_rng(seed)
    count = round(seconds * 16_000)
    time = np.arange(count) / 16_000
    pitch = 140 + 30 * np.sin(2 * np.pi * 0.7 * time + generator.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    loud = np.clip(np.sin(2 * np.pi * 3.1 * time) + 0.3, 0, 1) * (
        np.sin(2 * np.pi * 0.23 * time) > -0.6
    )
    noise = generator.normal(0, 0.05, count)
    return np.round((0.12 * voice * loud + 0.02 * noise * loud) * 32767).astype(np.int16)
