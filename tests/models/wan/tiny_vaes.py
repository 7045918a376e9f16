"""Diffusers' VAEs of Wan, tiny and random, and the names that Wan's own files would have."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

WAN21: dict[str, Any] = {"base_dim": 4, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 1}
WAN22: dict[str, Any] = {
    "base_dim": 4,
    "decoder_base_dim": 8,
    "z_dim": 48,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
}


def tiny_vae(config: dict[str, Any], seed: int = 0) -> AutoencoderKLWan:
    """A VAE of diffusers with random weights that keep values at about one."""
    torch.manual_seed(seed)
    vae = AutoencoderKLWan(**config).eval().requires_grad_(False)
    for name, parameter in vae.named_parameters():
        if name.endswith("gamma"):
            parameter.normal_(1.0, 0.2)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.1)
        else:
            parameter.normal_(0.0, parameter[0].numel() ** -0.5)
    return vae
