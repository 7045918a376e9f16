"""Write what images install, every file with its hash: `make lock` after a change of versions.

The versions are those of `constraints.txt`. torch and what comes only with it have a file of their
own: an image without CUDA takes torch from PyTorch's own index instead.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("gpu", "webrtc")
_WITH_TORCH = re.compile(r"torch|triton|xformers|cuda-|nvidia-")
_NOTICE = "# Made by docker/lock.py (make lock); do not edit.\n"


def main(uv: str) -> None:
    """Resolve with the program `uv` and write both files."""
    packages = _resolved(uv)
    with_torch = [each for each in packages if _WITH_TORCH.match(each)]
    without = [each for each in packages if each not in with_torch]
    for name, chosen in (("locked.txt", without), ("locked-torch.txt", with_torch)):
        (ROOT / "docker" / name).write_text(_NOTICE + "".join(chosen))


def _resolved(uv: str) -> list[str]:
    """Each package with its hashes, as lines of a requirements file."""
    command = [uv, "pip", "compile", "-", "--constraint", str(ROOT / "constraints.txt")]
    options = ["--universal", "--python-version", "3.11", "--generate-hashes"]
    quiet = ["--no-annotate", "--no-header", "--quiet"]
    done = subprocess.run(
        [*command, *options, *quiet],
        input="\n".join(_wanted()),
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"^[\w.-]+==.*\n(?:    .*\n)*", done.stdout, re.MULTILINE)


def _wanted() -> list[str]:
    """What the server, the client and the extras of images need, and what builds them."""
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())
    client = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    needs = [*server["project"]["dependencies"], *client["project"]["dependencies"]]
    for extra in EXTRAS:
        needs += _extra(server["project"]["optional-dependencies"], extra)
    needs += server["build-system"]["requires"]
    return [need for need in needs if not need.startswith("rollcast")]


def _extra(extras: dict[str, list[str]], name: str) -> list[str]:
    """What an extra needs, and the extras of ours that it names."""
    needs: list[str] = []
    for need in extras[name]:
        ours = re.fullmatch(r"rollcast\[([\w,-]+)\]", need)
        if ours is None:
            needs.append(need)
        else:
            needs += [each for inner in ours[1].split(",") for each in _extra(extras, inner)]
    return needs


if __name__ == "__main__":
    main(sys.argv[1])
