"""Draw what `training.compare_embedded` found: `python -m training.plot_embedded`."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from rollcast.models.pocket.evaluation.chart import Line, Lines, draw

# columns of the file and what they are called; the error is that of the sampler's last step
PANELS = {
    "error": "latents: mean squared error",
    "lip": "lip-sync",
    "opening": "mouth opening / true",
    "motion": "motion / true",
    "sharp_mouth": "detail in the mouth / true",
    "psnr": "pictures, dB",
}


def panels_of(path: Path) -> list[Lines]:
    """A panel for each measure, with a line for each objective over processor minutes."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["error"] = row["latent_2"] or row["latent_1"]
    names = list(dict.fromkeys(row["objective"] for row in rows))
    panels = []
    for column, title in PANELS.items():
        lines = tuple(
            Line(
                name,
                tuple(
                    (float(row["seconds"]) / 60, float(row[column]))
                    for row in rows
                    if row["objective"] == name
                ),
            )
            for name in names
        )
        panels.append(Lines(title, "minutes", lines, from_zero=False))
    return panels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, default=Path("var/train/compare/compare.csv"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/objectives.svg"))
    args = parser.parse_args()
    args.out.write_text(draw(panels_of(args.log), columns=3), encoding="utf-8")


if __name__ == "__main__":
    main()
