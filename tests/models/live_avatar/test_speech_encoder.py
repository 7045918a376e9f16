"""wav2vec 2.0 in two halves, against transformers' own model in one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from rollcast.models.live_avatar.speech_encoder import (
    HOP,
    SEEN,
    SpeechEncoder,
    encoder_weights,
    frames_in,
    load_speech_encoder,
)
from rollcast.models.live_avatar.speech_level import SpeechLevel
from rollcast.models.wan.weight_files import BadCheckpoint

from .tiny_speech import babble, tiny_speech_config, tiny_speech_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("stable", [True, False])
def test_both_halves_are_transformers_model(stable: bool) -> None:
    """All hidden states within 1e-5; the last is normalised, as its version 4 gave it."""
    model = tiny_speech_model(do_stable_layer_norm=stable)
    encoder = SpeechEncoder(model)
    samples = torch.randn(16_000)
    told = model(samples[None], output_hidden_states=True)
    frames = encoder.convolve(samples)
    made = encoder.attend(frames)
    assert made.shape == (encoder.layers, frames_in(16_000), encoder.width) == (4, 49, 32)
    for layer, hidden in enumerate(told.hidden_states[:-1]):
        torch.testing.assert_close(made[layer], hidden[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(made[-1], told.last_hidden_state[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.attend(frames, slice(7, 20)), made[:, 7:20])


def test_layers_of_transformers_5_0_give_tuples(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_speech_model()
    encoder, samples = SpeechEncoder(model), torch.randn(4000)
    wanted = encoder.attend(encoder.convolve(samples))
    layer = type(model.encoder.layers[0])
    forward = layer.forward
    monkeypatch.setattr(layer, "forward", lambda self, x: (forward(self, x),))
    assert torch.equal(encoder.attend(encoder.convolve(samples)), wanted)


def test_a_frame_is_made_of_its_samples_and_no_others() -> None:
    """Convolved in pieces it is the whole; to rounding, as other lengths add in another order."""
    encoder = SpeechEncoder(tiny_speech_model())
    samples = torch.randn(20 * HOP + SEEN)
    whole = encoder.convolve(samples)
    assert len(whole) == frames_in(len(samples)) == 21
    for first, last in ((0, 1), (3, 11), (20, 21)):
        part = encoder.convolve(samples[first * HOP : (last - 1) * HOP + SEEN])
        torch.testing.assert_close(part, whole[first:last], atol=1e-5, rtol=0)
    assert frames_in(SEEN - 1) == 0
    assert [frames_in(n) for n in (7680, 16_000, 30_720, 48_000)] == [23, 49, 95, 149]


def write_folder(folder: Path, *, old_names: bool, pickled: bool = False) -> Path:
    """The files that the hub has, with the head for text that nobody needs here."""
    torch.manual_seed(1)
    model = Wav2Vec2ForCTC(tiny_speech_config()).eval()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if old_names:
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            conv = "wav2vec2.encoder.pos_conv_embed.conv"
            weights[f"{conv}.{old}"] = weights.pop(f"{conv}.parametrizations.weight.{new}")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
        return folder / "pytorch_model.bin"
    save_file(weights, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize(("old_names", "pickled"), [(True, True), (True, False), (False, False)])
def test_a_published_folder_is_read(tmp_path: Path, old_names: bool, pickled: bool) -> None:
    file = write_folder(tmp_path, old_names=old_names, pickled=pickled)
    encoder = load_speech_encoder(file, device=CPU, dtype=torch.float32)
    torch.manual_seed(1)
    model = Wav2Vec2ForCTC(tiny_speech_config()).eval().wav2vec2
    samples = torch.randn(8000)
    wanted = model(samples[None]).last_hidden_state[0]
    torch.testing.assert_close(
        encoder.attend(encoder.convolve(samples))[-1], wanted, atol=1e-5, rtol=0
    )
    assert not any("lm_head" in name for name in encoder_weights(file))


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = write_folder(tmp_path, old_names=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(BadCheckpoint, match=r"no wav2vec 2.0 of its config.json.*misshapen"):
        load_speech_encoder(file, device=CPU, dtype=torch.float32)
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "hubert"}))
    with pytest.raises(BadCheckpoint, match="model_type 'hubert'"):
        load_speech_encoder(file, device=CPU, dtype=torch.float32)
    (tmp_path / "config.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"config.json"):
        load_speech_encoder(file, device=CPU, dtype=torch.float32)


def test_a_model_that_needs_the_whole_file_is_refused() -> None:
    """wav2vec2-base normalises its first layer over time: what is to come would count."""
    model = tiny_speech_model(feat_extract_norm="group", do_stable_layer_norm=False)
    samples = torch.randn(1, 16_000)
    quiet = samples.clone()
    quiet[:, 8000:] *= 0.01
    first = [model.feature_extractor(each)[..., :10] for each in (samples, quiet)]
    assert not torch.allclose(*first, atol=1e-2)
    with pytest.raises(ValueError, match="feat_extract_norm 'group'"):
        SpeechEncoder(model)
    with pytest.raises(ValueError, match="expected 400 every 320"):
        SpeechEncoder(tiny_speech_model(conv_stride=(5, 2, 2, 2, 2, 2, 1)))


def test_the_level_is_soon_that_of_the_whole_file() -> None:
    """Of a voice of any loudness: behind 3 s it is within a fifth of the published one."""
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    for loudness in (0.2, 1.0, 2.5):
        samples = (babble(12.0, seed=3) * loudness).clip(-32768, 32767).astype("int16")
        wanted = extractor(samples / 32768, sampling_rate=16_000, return_tensors="np").input_values[
            0
        ]
        made = SpeechLevel().normalised(samples)
        late = slice(3 * 16_000, None)
        assert made[late].std() == pytest.approx(wanted[late].std(), rel=0.2)


def test_silence_does_not_make_a_voice_louder() -> None:
    level = SpeechLevel()
    level.normalised(babble(4.0))
    # pauses count, as they do in a file
    level.normalised(np.zeros(16_000, np.int16))
    before = level.power
    assert not level.normalised(np.zeros(16_000 * 60, np.int16)).any()
    assert level.power == before
