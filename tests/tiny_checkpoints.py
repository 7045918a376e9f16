"""Writes tiny random checkpoints in the formats and folders in which models are published.

    python tests/tiny_checkpoints.py reward-forcing FOLDER

They are served as the published ones are: `rollcast serve --model reward-forcing --weights FOLDER
--size 64x32`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
)

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.student.config import StudentConfig
from rollcast.models.wan.decoder import WAN22_DECODER, WanDecoder, WanDecoderConfig
from rollcast.models.wan.encoder import WAN22_ENCODER, WanEncoder, WanEncoderConfig
from rollcast.models.wan.presets.catalogue import preset_named
from rollcast.models.wan.presets.latent_space import WAN21, LatentSpace
from rollcast.models.wan.presets.preset import Preset

SIZES: dict[str, Any] = {
    "dim": 24,
    "ffn_dim": 32,
    "num_heads": 2,
    "num_layers": 2,
    "text_dim": 16,
    "text_len": 24,
    "freq_dim": 16,
}
IMAGE_DIM = 20
VAE_DIM = 2
"""Channels of a VAE's largest planes: convolving these is most of what a chunk costs a CPU."""
WEIGHED_VAE_DIM = 4
"""Of one whose planes are, as in published ones, more than what is noted for each chunk."""
DECODER = WanDecoderConfig(dim=VAE_DIM, multipliers=(1, 2, 2, 2), residual_blocks=1)
WORDS = "a the red green blue paper boat fox dune pier sea fish snow street in on of to at".split()
BASE = "wan_models/Wan2.1-T2V-1.3B"
DECODER_22 = replace(WAN22_DECODER, dim=2 * VAE_DIM, multipliers=(1, 2, 2, 2), residual_blocks=1)
ENCODER = WanEncoderConfig(dim=VAE_DIM, multipliers=(1, 2, 2, 2), residual_blocks=1)
ENCODER_22 = replace(WAN22_ENCODER, dim=VAE_DIM, multipliers=(1, 2, 2, 2), residual_blocks=1)
RANK = 4
SHARDS = 4
S2V, LIVE_AVATAR = "Wan2.2-S2V-14B", "Live-Avatar"
AVATAR: dict[str, Any] = {"audio_dim": 16, "inject_layers": (0,)}
"""Its voice has as many layers as the published one: no configuration says how many those are."""


def tiny_config(preset: Preset) -> StudentConfig:
    """The preset's architecture at a size that every test can afford."""
    image = {"image_dim": IMAGE_DIM} if preset.student.image_dim else {}
    avatar = preset.student.avatar
    voice = {} if avatar is None else {"avatar": replace(avatar, **AVATAR)}
    return replace(preset.student, **SIZES, **image, **voice)


def tiny_student(preset: Preset, seed: int = 0) -> CausalStudent:
    """A random student of the preset."""
    torch.manual_seed(seed)
    student = filled(CausalStudent(tiny_config(preset)), 0.2)
    if student.casual_audio_encoder is not None:
        # a mean of the layers divides by what these sum up to
        nn.init.uniform_(student.casual_audio_encoder.weights, 0.5, 1.0)
    return student


def filled(module: Any, spread: float) -> Any:
    """`module` with random weights everywhere."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=spread)
    return module.eval().requires_grad_(False)


def write_checkpoint(name: str, folder: Path, seed: int = 0, *, vae_dim: int = VAE_DIM) -> None:
    """All files of preset `name` as its repositories lay them out."""
    preset = preset_named(name)
    if preset.student.avatar is not None:
        write_avatar(preset, folder, seed, vae_dim)
        return
    if preset.weights.path == "transformer":
        write_diffusers(preset, folder, vae_dim)
        return
    write_student(preset, folder, seed)
    base = folder / "wan_models" / PurePosixPath(preset.base.vae.repository).name
    write_base(preset, base, vae_dim)


def write_student(preset: Preset, folder: Path, seed: int = 0) -> None:
    """The student's file at its published path, and its adapter where it has one."""
    student = tiny_student(preset, seed).state_dict()
    if preset.recipe.clean_expert:
        writer = tiny_student(preset, seed + 1).state_dict()
        student |= {expert_name(key): tensor for key, tensor in writer.items()}
    sections = preset.weights.sections
    wrapped = "model._fsdp_wrapped_module." if sections[:1] == ("generator_ema",) else "model."
    named = {f"{wrapped}{key}": tensor for key, tensor in student.items()}
    if preset.adapter is not None:
        named = {key.removeprefix("model."): tensor for key, tensor in named.items()}
        write_adapter(preset, student, folder / preset.adapter.source.path)
    path = folder / preset.weights.path
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {sections[0]: named, "step": 600} if sections else named
    torch.save(content, path)


def expert_name(name: str) -> str:
    """SGF+'s name of a weight of its second model: `memory_` before a module or a parameter.

    Before the parameter in the blocks, before the module outside of them.
    """
    if not name.startswith("blocks."):
        return f"memory_{name}"
    module, parameter = name.rsplit(".", 1)
    return f"{module}.memory_{parameter}"


def write_adapter(preset: Preset, student: Mapping[str, Tensor], path: Path) -> None:
    """A low-rank adapter of every matrix in the blocks and their like, by PEFT's names."""
    generator = torch.Generator().manual_seed(1)
    halves: dict[str, Tensor] = {}
    for key, tensor in student.items():
        adapted = key.startswith(("blocks.", "audio_injector.injector."))
        if adapted and key.endswith(".weight") and tensor.dim() == 2:
            layer = f"base_model.model.{key.removesuffix('.weight')}"
            down = torch.randn(RANK, tensor.shape[1], generator=generator)
            up = torch.randn(tensor.shape[0], RANK, generator=generator)
            halves[f"{layer}.lora_A.weight"] = 0.02 * down
            halves[f"{layer}.lora_B.weight"] = 0.02 * up
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(halves, path)
    else:
        torch.save({"generator_lora": halves}, path)


def write_avatar(preset: Preset, folder: Path, seed: int = 0, vae_dim: int = VAE_DIM) -> None:
    """Wan2.2-S2V's folder with its shards, voice and all else, and Live Avatar's beside it."""
    base = folder / S2V
    write_base(preset, base, vae_dim)
    config = json.loads((base / "config.json").read_text())
    config |= {
        "_class_name": "WanModel_S2V",
        "model_type": "s2v",
        "adain_mode": "attn_norm",
        "audio_dim": AVATAR["audio_dim"],
        "audio_inject_layers": list(AVATAR["inject_layers"]),
        "cond_dim": 16,
        "enable_adain": True,
        "enable_framepack": True,
        "enable_motioner": False,
        "framepack_drop_mode": "padd",
        "motion_frames": 73,
        "num_audio_token": 4,
        "zero_timestep": True,
    }
    (base / "config.json").write_text(json.dumps(config, indent=2))
    student = tiny_student(preset, seed).state_dict()
    write_shards(student, base)
    write_adapter(preset, student, folder / LIVE_AVATAR / "liveavatar.safetensors")
    write_speech_encoder(base / "wav2vec2-large-xlsr-53-english")


def write_shards(weights: Mapping[str, Tensor], folder: Path) -> None:
    """Files of about the same length, and their index, as diffusers writes them."""
    names = list(weights)
    shards = {
        name: f"diffusion_pytorch_model-{1 + k * SHARDS // len(names):05d}-of-{SHARDS:05d}"
        ".safetensors"
        for k, name in enumerate(names)
    }
    for shard in sorted(set(shards.values())):
        part = {name: weights[name].clone() for name in names if shards[name] == shard}
        save_file(part, folder / shard)
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": shards}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


def write_speech_encoder(folder: Path) -> None:
    """wav2vec 2.0 with a head for text, by the names that its folder has on the hub."""
    torch.manual_seed(5)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=8,
            hidden_size=AVATAR["audio_dim"],
            num_hidden_layers=24,
            num_attention_heads=2,
            intermediate_size=24,
            conv_dim=(8,) * 7,
            feat_extract_norm="layer",
            conv_bias=True,
            do_stable_layer_norm=True,
            num_conv_pos_embeddings=128,
            num_conv_pos_embedding_groups=4,
        )
    )
    conv = "wav2vec2.encoder.pos_conv_embed.conv"
    modern = {
        f"{conv}.parametrizations.weight.original0": f"{conv}.weight_g",
        f"{conv}.parametrizations.weight.original1": f"{conv}.weight_v",
    }
    folder.mkdir(parents=True, exist_ok=True)
    weights = {modern.get(name, name): t.clone() for name, t in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))


def write_base(preset: Preset, folder: Path, vae_dim: int = VAE_DIM) -> None:
    """The other files of Wan 2.1: its configuration, VAE, text encoder and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    write_wan_config(tiny_config(preset), folder)
    torch.save(tiny_vae(preset.latents, vae_dim), folder / preset.base.vae.path)
    torch.save(wan_encoder_weights(tiny_encoder()), folder / preset.base.text_encoder.path)
    write_tokenizer(folder / preset.base.tokenizer.path)


def write_wan_config(config: StudentConfig, folder: Path) -> None:
    """`config.json` as Wan's repositories have it."""
    published = {
        "_class_name": "WanModel",
        "_diffusers_version": "0.30.0",
        "dim": config.dim,
        "eps": config.eps,
        "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim,
        "in_dim": config.in_channels,
        "model_type": "t2v",
        "num_heads": config.num_heads,
        "num_layers": config.num_layers,
        "out_dim": config.out_channels,
        "text_dim": config.text_dim,
        "text_len": config.text_len,
    }
    (folder / "config.json").write_text(json.dumps(published, indent=2))


def tiny_decoder(latents: LatentSpace = WAN21, dim: int = VAE_DIM) -> WanDecoder:
    """A random decoder of such latents."""
    torch.manual_seed(2)
    config = DECODER if latents == WAN21 else DECODER_22
    return filled(WanDecoder(replace(config, dim=config.dim * dim // VAE_DIM)), 0.2)


def tiny_vae_encoder(latents: LatentSpace = WAN21, dim: int = VAE_DIM) -> WanEncoder:
    """A random encoder of such latents."""
    torch.manual_seed(4)
    config = ENCODER if latents == WAN21 else ENCODER_22
    return filled(WanEncoder(replace(config, dim=dim)), 0.2)


def tiny_vae(latents: LatentSpace = WAN21, dim: int = VAE_DIM) -> dict[str, Tensor]:
    """A VAE's weights by Wan's names."""
    return tiny_decoder(latents, dim).state_dict() | tiny_vae_encoder(latents, dim).state_dict()


def tiny_encoder() -> UMT5EncoderModel:
    """A random text encoder."""
    torch.manual_seed(3)
    config = UMT5Config(
        vocab_size=64,
        d_model=SIZES["text_dim"],
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        relative_attention_num_buckets=8,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        architectures=["UMT5EncoderModel"],
    )
    return filled(UMT5EncoderModel(config), 0.5)


def wan_encoder_weights(encoder: UMT5EncoderModel) -> dict[str, Tensor]:
    """The encoder's weights by the names of Wan's own file."""
    parts = {
        "layer.0.layer_norm": "norm1",
        "layer.1.layer_norm": "norm2",
        "layer.0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
        "layer.0.SelfAttention": "attn",
        "layer.1.DenseReluDense.wi_0": "ffn.gate.0",
        "layer.1.DenseReluDense.wi_1": "ffn.fc1",
        "layer.1.DenseReluDense.wo": "ffn.fc2",
        "encoder.final_layer_norm": "norm",
        "encoder.block": "blocks",
        "shared": "token_embedding",
    }
    named: dict[str, Tensor] = {}
    for name, tensor in encoder.state_dict().items():
        if name == "encoder.embed_tokens.weight":
            continue
        for theirs, wans in parts.items():
            name = name.replace(theirs, wans)
        named[name] = tensor.clone()
    return named


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of a few words and the letters, in the files of `google/umt5-xxl`."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(f"▁{word}", -3.0) for word in WORDS]
    vocabulary += [(letter, -6.0) for letter in "▁abcdefghijklmnopqrstuvwxyz,.-"]
    T5Tokenizer(vocab=vocabulary, extra_ids=0).save_pretrained(folder)


DIFFUSERS = {
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.modulation": "scale_shift_table",
    "head.head": "proj_out",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "norm3": "norm2",
    "modulation": "scale_shift_table",
    "self_attn.norm_q": "attn1.norm_q",
    "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.norm_q": "attn2.norm_q",
    "cross_attn.norm_k": "attn2.norm_k",
    "self_attn.o": "attn1.to_out.0",
    "cross_attn.o": "attn2.to_out.0",
}
DIFFUSERS |= {
    "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
    "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "img_emb.proj.4": "condition_embedder.image_embedder.norm2",
    "track_head.temporal": "track_encoder.temporal_conv",
    "track_head.mix": "track_encoder.proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "cross_attn.k_img": "attn2.add_k_proj",
    "cross_attn.v_img": "attn2.add_v_proj",
}
DIFFUSERS |= {f"self_attn.{part}": f"attn1.to_{part}" for part in "qkv"}
DIFFUSERS |= {f"cross_attn.{part}": f"attn2.to_{part}" for part in "qkv"}


def diffusers_name(name: str) -> str:
    """Diffusers' name of a student's weight."""
    head, block = "", name
    if name.startswith("blocks."):
        _, number, block = name.split(".", 2)
        head = f"blocks.{number}."
    for ours, theirs in DIFFUSERS.items():
        if block == ours or block.startswith(f"{ours}."):
            return head + theirs + block.removeprefix(ours)
    return name


def diffusers_vae_name(name: str) -> str:
    """Diffusers' name of a weight of `tiny_vae`."""
    parts = {"residual.0": "norm1", "residual.2": "conv1", "residual.3": "norm2"}
    parts |= {"residual.6": "conv2", "shortcut": "conv_shortcut"}

    def inside(rest: str) -> str:
        found = next((p for p in parts if rest.startswith(f"{p}.")), None)
        return rest if found is None else parts[found] + rest.removeprefix(found)

    plain = {
        "decoder.conv1.": "decoder.conv_in.",
        "decoder.head.0.": "decoder.norm_out.",
        "decoder.head.2.": "decoder.conv_out.",
        "encoder.conv1.": "encoder.conv_in.",
        "encoder.head.0.": "encoder.norm_out.",
        "encoder.head.2.": "encoder.conv_out.",
        "conv1.": "quant_conv.",
        "conv2.": "post_quant_conv.",
    }
    for ours, theirs in plain.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    half, part, number, rest = name.split(".", 3)
    if part == "middle":
        kind = "attentions.0" if number == "1" else f"resnets.{int(number) // 2}"
        return f"{half}.mid_block.{kind}.{inside(rest)}"
    if part == "downsamples":
        return f"encoder.down_blocks.{number}.{inside(rest)}"
    level, place = divmod(int(number), DECODER.residual_blocks + 2)
    kind = "upsamplers.0" if place > DECODER.residual_blocks else f"resnets.{place}"
    return f"decoder.up_blocks.{level}.{kind}.{inside(rest)}"


def write_diffusers(preset: Preset, folder: Path, vae_dim: int = VAE_DIM) -> None:
    """The student and its other files as diffusers lays them out."""
    config = tiny_config(preset)
    for part in ("transformer", "vae", "text_encoder", "tokenizer"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    student = {
        diffusers_name(key): value for key, value in tiny_student(preset).state_dict().items()
    }
    if config.image_dim:
        # as Wan's converters do; nobody reads them
        student |= {
            f"blocks.{k}.attn2.norm_added_q.weight": torch.zeros(config.dim)
            for k in range(config.num_layers)
        }
    shards = dict.fromkeys(student, "diffusion_pytorch_model-00001-of-00002.safetensors")
    for key in list(student)[len(student) // 2 :]:
        shards[key] = "diffusion_pytorch_model-00002-of-00002.safetensors"
    for shard in set(shards.values()):
        part = {key: value for key, value in student.items() if shards[key] == shard}
        save_file(part, folder / "transformer" / shard)
    index = {"metadata": {}, "weight_map": shards}
    (folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps(index)
    )
    published = diffusers_config(config)
    (folder / "transformer" / "config.json").write_text(json.dumps(published))
    vae = {diffusers_vae_name(key): value for key, value in tiny_vae(WAN21, vae_dim).items()}
    save_file(vae, folder / "vae" / "diffusion_pytorch_model.safetensors")
    tiny_encoder().save_pretrained(folder / "text_encoder")
    write_tokenizer(folder / "tokenizer")
    if config.image_dim:
        tiny_image_encoder().save_pretrained(folder / "image_encoder")


def diffusers_config(config: StudentConfig) -> dict[str, Any]:
    """`transformer/config.json` as diffusers has it, and as FastVideo has it of a track student."""
    published: dict[str, Any] = {
        "_class_name": "WanTransformer3DModel",
        "num_attention_heads": config.num_heads,
        "attention_head_dim": config.head_dim,
        "ffn_dim": config.ffn_dim,
        "freq_dim": config.freq_dim,
        "in_channels": config.stem_channels,
        "num_layers": config.num_layers,
        "out_channels": config.out_channels,
        "patch_size": list(config.patch),
        "text_dim": config.text_dim,
        "eps": config.eps,
        "image_dim": config.image_dim or None,
        "added_kv_proj_dim": config.dim if config.image_dim else None,
    }
    if config.track_channels:
        published["_class_name"] = "CausalTrackWanTransformer3DModel"
        published["track_config"] = {
            "id_dim": config.track_channels,
            "track_channels": config.track_features,
            "vae_spatial_compression": 8,
            "vae_temporal_compression": config.track_stride,
            "max_track_id": 100_000,
            "zero_init_head": False,
            "use_bias": config.track_bias,
        }
    return published


def tiny_image_encoder() -> CLIPVisionModel:
    """A random image encoder of 17 tokens."""
    torch.manual_seed(5)
    config = CLIPVisionConfig(
        hidden_size=IMAGE_DIM,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        patch_size=14,
        image_size=56,
        hidden_act="gelu",
    )
    return filled(CLIPVisionModel(config), 0.3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    write_checkpoint(given.name, given.folder)
