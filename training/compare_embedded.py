"""Objectives on equal budgets: `python -m training.compare_embedded`.

Every objective begins with the same student and gets the same processor time, in which also its
own networks learn. What they reach on held-out clips, over time, goes to one CSV file. Distribution
matching needs a network that knows the score at every time: it begins where flow matching ended.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import torch
from torch import nn

from .loop import LoopConfig, Losses, Trainer
from .objectives import OBJECTIVES
from .pocket_student import PocketStudent
from .student import prepare
from .task import TrainingTask

_RATE = 4e-4
_LOOKS = 3  # examinations on the way
_CLIPS = 6  # of the held-out clips one in so many is looked at
# what needs the scores of the data begins with the student that learnt them
_BEGINS_WITH = {
    "distribution-matching": "flow-matching",
    "rewarded-matching": "flow-matching",
}


def learn(
    task: TrainingTask, student: PocketStudent, name: str, seconds: float, out: Path, log: Path
) -> None:
    """Teach `student` by objective `name` for so much processor time, and write down its course."""
    objective = OBJECTIVES[name](task)
    objective.begin(student)
    config = LoopConfig(1_000_000, _RATE, decay_from=0.999, weight_decay=0.01, average=0.98)
    trainer = Trainer(student, config, out / name, seed=8)

    def losses(model: nn.Module, step: int) -> Losses:
        assert isinstance(model, PocketStudent)
        return objective.losses(model, task.draw(), pixels=False)

    used, next_look = 0.0, 0.0
    while True:
        if used >= next_look:
            next_look += seconds / _LOOKS
            with torch.no_grad():
                report = task.evaluate(trainer.averaged, objective.steps, _CLIPS)
            write(log, {"objective": name, "seconds": used, "steps": trainer.step} | report)
            if used >= seconds:
                break
        started = time.process_time()
        trainer.optimise(losses)
        used += time.process_time() - started
    torch.save(trainer.averaged.state_dict(), out / f"{name}.pt")


def write(path: Path, row: dict[str, str | float]) -> None:
    """Append a row; columns that a row lacks stay empty."""
    columns = ["objective", "seconds", "steps", "latent_1", "latent_2", "psnr", "psnr_mouth",
               "sharp", "sharp_mouth", "lip", "lip_worst", "opening", "motion"]  # fmt: skip
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        if is_new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("var/data"))
    parser.add_argument("--parts", type=Path, default=Path("var/train"))
    parser.add_argument("--out", type=Path, default=Path("var/train/compare"))
    parser.add_argument(
        "--student", type=Path, help="where all begin; the trained student if unset"
    )
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    task, student = prepare(args.data, args.parts)
    start = args.student or args.parts / "student/student.pt"
    common = torch.load(start, weights_only=True)["student"]
    for name in args.objectives:
        teacher = _BEGINS_WITH.get(name)
        begin = torch.load(args.out / f"{teacher}.pt", weights_only=True) if teacher else common
        student.load_state_dict(begin)
        learn(task, student, name, args.seconds, args.out, args.out / "compare.csv")


if __name__ == "__main__":
    main()
