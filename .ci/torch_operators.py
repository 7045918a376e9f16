"""Operators that we call by torch's own names: have they the same arguments in another torch?

`python .ci/torch_operators.py FOLDER` compares the installed torch with the files of another one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

_CALLED = re.compile(r"\b(?:torch\.ops\.)?aten\.(_\w+)")
_OURS = ("kernels", "models", "benchmarks")


def called(root: Path) -> set[str]:
    """The names of operators without a public one that our files call."""
    files = [path for folder in _OURS for path in (root / folder).rglob("*.py")]
    return {name for path in files for name in _CALLED.findall(path.read_text())}


def schemas(folder: Path) -> dict[str, str]:
    """Name and arguments of each operator of the torch in `folder`, its default overload."""
    told = (folder / "torchgen/packaged/ATen/native/native_functions.yaml").read_text()
    return {name: name + rest for name, rest in re.findall(r"^- func: (\w+)(\(.*)$", told, re.M)}


def main(folder: str) -> int:
    """1 if one is missing, or is another."""
    there, wrong = schemas(Path(folder)), 0
    for name in sorted(called(Path(__file__).resolve().parent.parent)):
        packet = getattr(torch.ops.aten, name)
        here = str(packet.default._schema).removeprefix("aten::")
        other = there.get(name, "nothing of that name")
        same = re.sub(r"=0\.(?=\D)", "=0.0", here) == other
        wrong += not same
        sys.stdout.write(f"{name}: {'the same' if same else f'{other}; here {here}'}\n")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
