"""Train the pocket student: `python -m training.student`.

A causal few-step flow sampler trained in parallel over whole sequences; `training/objectives` has
what it can be taught.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rollcast.models.pocket.evaluation.evaluation_set import QualitySet

from .autoencoder import Autoencoder
from .clips import Clips, load_index, load_looks
from .latents import kept_latents
from .loop import LoopConfig, Losses, Trainer
from .objectives import DISTILLATIONS, OBJECTIVES, Objective
from .pocket_student import PocketStudent, fit_draft
from .scored_task import ScoredTrainingTask
from .sequences import References, Sequences, measure
from .speech import predicted_visemes
from .task import TrainingTask
from .vocabulary import build_vocabulary

# the decoder joins after this share of the steps
_PIXELS_FROM = 0.35


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=Path("var/train/student"))
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=4)
    names = [*OBJECTIVES, *DISTILLATIONS]
    parser.add_argument("--objective", choices=names, default="self-rollout")
    parser.add_argument(
        "--teacher", type=Path, help="a student that flow matching has taught, for a real score"
    )
    args = parser.parse_args()
    if (args.teacher is not None) is not (args.objective in DISTILLATIONS):
        parser.error("--teacher goes with an objective that distils a score, and only with it")
    torch.set_num_threads(args.threads)
    task, model = prepare(args.data, args.parts)
    trainer = Trainer(model, LoopConfig(args.steps, 1.5e-3, weight_decay=0.01), args.out, args.seed)
    if not trainer.resume():
        if args.teacher is not None:
            model.load_state_dict(torch.load(args.teacher, weights_only=True)["student"])
        else:
            share = fit_draft(model, task.train, task.references)
            print(f"linear draft explains {share:.0%} of the variance")  # noqa: T201
        trainer.averaged.load_state_dict(model.state_dict())
    objective = _objective(args.objective, task, model, args.teacher)
    objective.begin(model)

    def losses(student: nn.Module, step: int) -> Losses:
        assert isinstance(student, PocketStudent)
        pixels = step >= _PIXELS_FROM * args.steps
        return objective.losses(student, task.draw(), pixels=pixels)

    trainer.run(losses, task.evaluate, evaluate_every=500)
    norm = task.norm
    torch.save(
        {"student": trainer.averaged.state_dict(), "mean": norm.mean, "spread": norm.spread},
        args.out / "student.pt",
    )


def _objective(
    name: str, task: TrainingTask, model: PocketStudent, teacher: Path | None
) -> Objective[Any]:
    if teacher is None:
        return OBJECTIVES[name](task)
    real = copy.deepcopy(model)
    real.load_state_dict(torch.load(teacher, weights_only=True)["student"])
    return DISTILLATIONS[name](ScoredTrainingTask(task, real))


def prepare(data: Path, parts: Path) -> tuple[TrainingTask, PocketStudent]:
    """The data as latents, and a student that has learnt nothing yet."""
    index = load_index(data)
    looks = load_looks(data, index)
    vocabulary, _ = build_vocabulary(index)
    autoencoder = load_autoencoder(parts / "autoencoder/autoencoder.pt")
    splits = {name: Clips(data, name, index, looks) for name in ("train", "test")}
    references = References(autoencoder, looks)
    encoded = kept_latents(parts / "latents.pt", autoencoder, splits, references)
    norm = measure(encoded["train"][0], splits["train"], references)
    references.normalise(norm)
    heard = predicted_visemes(parts / "visemes/visemes.pt", splits["test"])
    visemes = {"train": None, "test": heard}
    train, test = (
        Sequences(
            clips, looks, references, norm, encoded[name], vocabulary, index["expressions"],
            visemes[name],
        )
        for name, clips in splits.items()
    )  # fmt: skip
    mouth = QualitySet.read(parts / "measures/quality.safetensors").mouth
    task = TrainingTask(train, test, references, autoencoder, norm, mouth)
    return task, PocketStudent(len(vocabulary.tokens))


def load_autoencoder(path: Path) -> Autoencoder:
    """The trained autoencoder, frozen."""
    model = Autoencoder().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.requires_grad_(False).eval()


if __name__ == "__main__":
    main()
