"""Train the speech-to-viseme network: `python -m training.visemes`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rollcast.models.pocket.audio import (
    CHUNK_SAMPLES,
    FRAME_SAMPLES,
    FUTURE_CHUNKS,
    FUTURE_FRAMES,
    PAST_CHUNKS,
    PAST_FRAMES,
    VisemeNet,
    log_mel,
)

from .data.languages import LANGUAGES
from .loop import LoopConfig, Losses, Trainer

BATCH = 24
# opening matters more to the eye than the shape of a half-closed mouth
_GAP_WEIGHT = 1.0
# of the mel bands: spread of their stretch, of their shift, the most that are masked, and the most
# noise: voices of people are rougher than those of synthesisers
_STRETCH, _SHIFT, _MASKED, _ROUGH = 0.07, 2.0, 10, 0.15


class SpeechBatches:
    """Draws whole clips of speech with their visemes, heard through changing microphones."""

    def __init__(self, folder: Path, split: str, to_gap: Tensor) -> None:
        paths = sorted(folder.glob(f"{split}_*.npz"))
        loaded = [np.load(p) for p in paths]
        spoken = [clip for clip in loaded if np.any(clip["audio"])]
        frames = max(len(clip["visemes"]) for clip in spoken)
        whole = [clip for clip in spoken if len(clip["visemes"]) == frames]
        self.audio = torch.from_numpy(np.stack([clip["audio"] for clip in whole])).float() / 32768
        self.visemes = torch.from_numpy(np.stack([clip["visemes"] for clip in whole])).float()
        # of clips that are of speech alone in another language, which
        self.languages = [_language(p) for p, clip in zip(paths, loaded, strict=True)
                          if np.any(clip["audio"]) and len(clip["visemes"]) == frames]  # fmt: skip
        self.to_gap = to_gap
        self.gap = self.visemes @ to_gap
        self.spread = self.visemes.flatten(0, 1).std(0).clamp(min=0.03)

    def losses(self, model: nn.Module, step: int) -> Losses:
        """Normalised viseme error and lip-gap error of a random batch."""
        pick = torch.randint(len(self.audio), (BATCH,))
        assert isinstance(model, VisemeNet)
        audio = hear(self.audio[pick])
        made = model.read(another_voice(log_mel(audio)), audio.shape[-1] // FRAME_SAMPLES)
        real = self.visemes[pick, PAST_FRAMES:-FUTURE_FRAMES]
        gap_spread = self.gap.std()
        gap_error = ((made - real) @ self.to_gap) / gap_spread
        return {
            "visemes": ((made - real) / self.spread).square().mean(),
            "gap": _GAP_WEIGHT * gap_error.square().mean(),
        }

    def predict(self, model: nn.Module) -> Tensor:
        """Visemes of all clips, heard cleanly [N, T, V]."""
        pad = (PAST_CHUNKS * CHUNK_SAMPLES, FUTURE_CHUNKS * CHUNK_SAMPLES)
        return model(F.pad(self.audio, pad))[:, : self.visemes.shape[1]].clamp(min=0)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Correlations with the truth, over all clips."""
        made = self.predict(model)
        each = [
            correlation(made[..., k], self.visemes[..., k])
            for k in range(made.shape[-1])
            if float(self.visemes[..., k].std()) > 0.02
        ]
        gaps = made @ self.to_gap
        per_clip = [correlation(a, b) for a, b in zip(gaps, self.gap, strict=True)]
        quiet = self.gap < self.gap.min() + 0.05 * (self.gap.max() - self.gap.min())
        return {
            "visemes": float(np.mean(each)),
            "gap": _mean_of(per_clip, self.languages, None),
            **{f"gap_{code}": _mean_of(per_clip, self.languages, code) for code in LANGUAGES},
            "gap_amplitude": float(gaps.std() / self.gap.std()),
            "gap_when_closed": float(gaps[quiet].mean() / self.gap.std()),
        }


def _language(path: Path) -> str | None:
    """What a file of speech alone is said in, None for English and for faces."""
    look = path.stem.split("_")[1]
    return look.removeprefix("audio-") if look.startswith("audio-") else None


def _mean_of(scores: list[float], languages: list[str | None], code: str | None) -> float:
    return float(np.nanmean([s for s, of in zip(scores, languages, strict=True) if of == code]))


def opening_weights(folder: Path) -> Tensor:
    """Lip gap in px per unit of each viseme [V], fitted to the rendered faces."""
    loaded = [np.load(p) for p in sorted(folder.glob("train_*.npz"))]
    faces = [clip for clip in loaded if "lip_gap" in clip.files and np.any(clip["lip_gap"])]
    visemes = np.concatenate([clip["visemes"] for clip in faces])
    gap = np.concatenate([clip["lip_gap"] for clip in faces])
    rows = np.concatenate([visemes, np.ones((len(gap), 1), np.float32)], 1)
    solution = np.linalg.lstsq(rows, gap)[0]
    return torch.from_numpy(solution[:-1]).float()


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of all elements."""
    return float(torch.corrcoef(torch.stack([a.flatten().float(), b.flatten().float()]))[0, 1])


def hear(audio: Tensor) -> Tensor:
    """Another microphone for each clip: level, equaliser, noise floor."""
    batch = len(audio)
    taps = torch.randn(batch, 1, 5) * 0.15
    taps[:, 0, 2] += 1
    coloured = F.conv1d(audio[None], taps, padding=2, groups=batch)[0]
    level = 10 ** (torch.rand(batch, 1) * 1.3 - 1.0)
    noise = 10 ** (torch.rand(batch, 1) * 2.5 - 4.7)
    tilt = torch.rand(batch, 1)
    white = torch.randn_like(audio)
    brown = F.pad(white[:, 1:] + white[:, :-1], (1, 0))
    return coloured * level + noise * (tilt * white + (1 - tilt) * brown)


def another_voice(mel: Tensor) -> Tensor:
    """Log-mel rows [B, rows, MELS] as if of another throat, with some bands missing.

    A shift of the bands is a vocal tract of another length (formants scale together, and the mel
    scale is logarithmic); what is masked must be told from the rest.
    """
    batch, _, bands = mel.shape
    line = torch.arange(bands, dtype=torch.float32)
    place = line * (1 + _STRETCH * torch.randn(batch, 1)) + _SHIFT * torch.randn(batch, 1)
    low = place.clamp(0, bands - 1.001).floor()
    share = (place.clamp(0, bands - 1.001) - low)[:, None]
    index = low.long()[:, None].expand(-1, mel.shape[1], -1)
    moved = mel.gather(2, index) * (1 - share) + mel.gather(2, index + 1) * share
    first = torch.randint(bands, (batch, 1))
    wide = torch.randint(_MASKED + 1, (batch, 1))
    gone = (line >= first) & (line < first + wide)
    heard = torch.where(gone[:, None], moved.mean((1, 2), keepdim=True), moved)
    return heard + _ROUGH * torch.rand(batch, 1, 1) * torch.randn_like(heard)


def calibrate(model: VisemeNet, batches: SpeechBatches) -> None:
    """Scale each output so that it opens as far as the truth: regression shrinks towards 0."""
    made = batches.predict(model)
    gain = batches.visemes.flatten(0, 1).std(0) / made.flatten(0, 1).std(0).clamp(min=1e-3)
    gain = torch.where(batches.spread > 0.035, gain.clamp(1.0, 1.35), torch.ones_like(gain))
    model.leave.weight.mul_(gain[:, None, None])
    assert model.leave.bias is not None
    model.leave.bias.mul_(gain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--out", type=Path, default=Path("var/train/visemes"))
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    to_gap = opening_weights(args.data)
    train = SpeechBatches(args.data, "train", to_gap)
    test = SpeechBatches(args.data, "test", to_gap)
    config = LoopConfig(args.steps, 2e-3, weight_decay=0.02, bf16=False)
    trainer = Trainer(VisemeNet(), config, args.out, args.seed)
    trainer.resume()
    trainer.run(train.losses, test.evaluate, evaluate_every=500)
    net = trainer.averaged
    assert isinstance(net, VisemeNet)
    with torch.no_grad():
        calibrate(net, train)
    torch.save(net.state_dict(), args.out / "visemes.pt")


if __name__ == "__main__":
    main()
