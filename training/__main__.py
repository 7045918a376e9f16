"""From nothing to weights: `python -m training`, resumable at any point.

Runs, each as its own process: data, autoencoder, viseme network, measuring networks, student,
decoder on the student's samples, export, a sheet to look at. A stage that is complete is skipped
by its own checkpoint.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

STAGES: dict[str, tuple[str, ...]] = {
    "data": ("training.data", "render"),
    "autoencoder": ("training.autoencoder",),
    "visemes": ("training.visemes",),
    "measures": ("training.measures",),
    "student": ("training.student",),
    "polish": ("training.polish",),
    "export": ("training.export",),
    "sheet": ("training.sheet",),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--from", dest="first", choices=STAGES, default="data")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every stage")
    args = parser.parse_args()
    names = list(STAGES)
    for name in names[names.index(args.first) :]:
        module, *arguments = STAGES[name]
        if name not in ("data", "export"):
            arguments += ["--threads", str(args.threads)]
        result = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
        if result.returncode:
            sys.exit(f"stage {name!r} failed; mend it and run again with --from {name}")


if __name__ == "__main__":
    main()
