"""Wan 2.1, which families build on: the shapes of its models, and its other files.

Also the steps that most of its students take.
"""

from __future__ import annotations

from dataclasses import replace

from ...sampling.recipe import Recipe
from ...student.config import StudentConfig
from .source import BaseFiles, Source

_REPOSITORY = "Wan-AI/Wan2.1-T2V-1.3B"

T2V_1_3B = StudentConfig(
    dim=1536,
    ffn_dim=8960,
    num_heads=12,
    num_layers=30,
    in_channels=16,
    out_channels=16,
    text_dim=4096,
    text_len=512,
)
T2V_14B = replace(T2V_1_3B, dim=5120, ffn_dim=13824, num_heads=40, num_layers=40)
FILES = BaseFiles(
    vae=Source(_REPOSITORY, "Wan2.1_VAE.pth"),
    text_encoder=Source(_REPOSITORY, "models_t5_umt5-xxl-enc-bf16.pth"),
    tokenizer=Source(_REPOSITORY, "google/umt5-xxl"),
)
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
"""CLIP's own file in the repositories of image to video."""
FOUR_STEPS = Recipe(chunk_frames=3, steps=(1000, 750, 500, 250))
"""Self-Forcing's (arXiv 2506.08009): four steps of a chunk of three latents, and a clean pass."""
