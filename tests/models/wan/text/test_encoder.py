"""Embeddings are those of transformers and of Wan's own pipeline, whatever files they come from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from rollcast.models.wan.text.encoder import TextEncoder, clean
from rollcast.models.wan.weight_files import BadCheckpoint
from rollcast.models.wan.weights import WeightsDoNotFit

from ....tiny_checkpoints import tiny_encoder, wan_encoder_weights, write_tokenizer

TEXT_LEN = 24
TEXTS = (
    "a red fox in the snow",
    "",
    "boat, pier - sea",
    "  words &amp; entities\n and   spaces ",
    "“curly” quotes … and ünïcödé 漢字",
    "a dune " * 40,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the encoder as Wan and as diffusers have it, and the tokenizer."""
    folder = tmp_path_factory.mktemp("text")
    tiny_encoder().save_pretrained(folder / "text_encoder")
    torch.save(wan_encoder_weights(tiny_encoder()), folder / "models_t5.pth")
    write_tokenizer(folder / "tokenizer")
    return folder


@torch.inference_mode()
def by_transformers(folder: Path, text: str) -> Tensor:
    """As published pipelines do it: padded, masked, and zeros where the padding was."""
    tokens = AutoTokenizer.from_pretrained(folder / "tokenizer")(
        clean(text),
        padding="max_length",
        truncation=True,
        max_length=TEXT_LEN,
        add_special_tokens=True,
        return_tensors="pt",
    )
    model = UMT5EncoderModel.from_pretrained(folder / "text_encoder")
    hidden = model(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
    return hidden[0] * tokens.attention_mask[0, :, None]


@pytest.mark.parametrize("weights", ["text_encoder/model.safetensors", "models_t5.pth"])
@pytest.mark.parametrize("text", TEXTS)
def test_it_is_transformers(weights: str, text: str, files: Path) -> None:
    encoder = TextEncoder(files / weights, files / "tokenizer", TEXT_LEN)
    made, wanted = encoder.encode(text), by_transformers(files, text)
    assert 1 <= len(made) <= TEXT_LEN
    padded = torch.nn.functional.pad(made, (0, 0, 0, TEXT_LEN - len(made)))
    torch.testing.assert_close(padded, wanted, atol=1e-5, rtol=1e-5)


def test_a_text_keeps_its_end_mark_when_it_is_cut(files: Path) -> None:
    encoder = TextEncoder(files / "models_t5.pth", files / "tokenizer", TEXT_LEN)
    assert len(encoder.encode("a dune " * 40)) == TEXT_LEN


def test_the_type_is_that_of_the_file(files: Path, tmp_path: Path) -> None:
    half = {name: t.bfloat16() for name, t in wan_encoder_weights(tiny_encoder()).items()}
    torch.save(half, tmp_path / "half.pth")
    encoder = TextEncoder(tmp_path / "half.pth", files / "tokenizer", TEXT_LEN)
    made = encoder.encode(TEXTS[0])
    assert made.dtype == torch.bfloat16
    torch.testing.assert_close(
        made.float(), by_transformers(files, TEXTS[0])[: len(made)], atol=0.2, rtol=0.1
    )


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a\n b\t c ", "a b c"),
        ("&amp;amp; &lt;", "& <"),
        ("“it’s”", '"it\'s"'),
        ("schÃ¶n", "schön"),
    ],
)
def test_texts_are_cleaned_as_wan_does(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_other_weights_are_named(files: Path, tmp_path: Path) -> None:
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(BadCheckpoint, match="no UMT5: it lacks"):
        TextEncoder(tmp_path / "other.pth", files / "tokenizer", TEXT_LEN)
    less = wan_encoder_weights(tiny_encoder())
    del less["blocks.1.attn.q.weight"]
    torch.save(less, tmp_path / "less.pth")
    with pytest.raises(WeightsDoNotFit, match=r"1 missing: encoder.block.1.+SelfAttention.q"):
        TextEncoder(tmp_path / "less.pth", files / "tokenizer", TEXT_LEN)
