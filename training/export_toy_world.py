"""Put a student of the comparison into the package: `python -m training.export_toy_world FILE`.

`FILE` is the network of a method that is one causal student sampled with fresh noise, such as
`var/compare/seed-1/dmd2.pt`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from rollcast.models.toy_world.weights import packed

WEIGHTS = Path(__file__).parents[1] / "models" / "toy_world" / "assets" / "toy-world.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    save_file(packed(torch.load(args.file, weights_only=True)), args.out)


if __name__ == "__main__":
    main()
