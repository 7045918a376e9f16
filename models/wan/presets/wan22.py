"""Wan 2.2's model of 5B parameters, which families build on: its shape and its other files."""

from __future__ import annotations

from ...student.config import StudentConfig
from .source import BaseFiles, Source

_REPOSITORY = "Wan-AI/Wan2.2-TI2V-5B"

TI2V_5B = StudentConfig(
    dim=3072,
    ffn_dim=14336,
    num_heads=24,
    num_layers=30,
    in_channels=48,
    out_channels=48,
    text_dim=4096,
    text_len=512,
)
FILES = BaseFiles(
    vae=Source(_REPOSITORY, "Wan2.2_VAE.pth"),
    text_encoder=Source(_REPOSITORY, "models_t5_umt5-xxl-enc-bf16.pth"),
    tokenizer=Source(_REPOSITORY, "google/umt5-xxl"),
)
