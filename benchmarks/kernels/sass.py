"""Reads machine code of NVIDIA GPUs: registers, spills, and what the longest loop is made of.

With the disassemblers that come with Triton's wheel; no GPU and no CUDA toolkit is needed.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

# Tensor cores: Hopper's warp-group products, Ampere's and consumer Blackwell's, Blackwell's; H of
# half precision, I of 8-bit integers, Q of float8.
_GROUP = re.compile(r"[HIQ]GMMA")
_MMA = re.compile(rf"{_GROUP.pattern}|[HIQ]MMA|UTC\w*MMA")
_LABEL = re.compile(r"\s*(\.L_\S+):")
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)(.*?);")


@dataclass(frozen=True, slots=True)
class Listing:
    """Instructions as (address, mnemonic, operands) and the addresses of labels."""

    instructions: tuple[tuple[int, str, str], ...]
    labels: dict[str, int]

    @classmethod
    def parse(cls, text: str) -> Listing:
        """The listing that nvdisasm prints."""
        found: list[tuple[int, str, str]] = []
        labels: dict[str, int] = {}
        waiting: list[str] = []
        for line in text.splitlines():
            if label := _LABEL.match(line):
                waiting.append(label.group(1))
            elif match := _INSTRUCTION.search(line):
                address = int(match.group(1), 16)
                labels |= dict.fromkeys(waiting, address)
                waiting.clear()
                found.append((address, match.group(2), match.group(3)))
        return cls(tuple(found), labels)

    def loops(self) -> list[tuple[int, int]]:
        """First and last address of the innermost loops: what a branch backwards spans.

        The trap behind the end, a branch to itself, is none.
        """
        spans: list[tuple[int, int]] = []
        for address, name, operands in self.instructions:
            target = re.search(r"\((\.L_[^)]+)\)", operands) if name.startswith("BRA") else None
            start = self.labels.get(target.group(1)) if target else None
            if start is not None and start < address:
                spans.append((start, address))
        return [
            span
            for span in spans
            if not any(o != span and o[0] >= span[0] and o[1] <= span[1] for o in spans)
        ]

    def mix(self, first: int = 0, last: int = 1 << 62) -> Counter[str]:
        """How often each mnemonic, without its suffixes, stands between two addresses."""
        return Counter(
            name.split(".")[0] for address, name, _ in self.instructions if first <= address <= last
        )


@dataclass(frozen=True, slots=True)
class MachineCode:
    """What was read of one compiled kernel.

    The loop is the longest of those that multiply on tensor cores (`mma` of them, by `mma_kind`),
    or of all if none does; zeros if there is no loop. `serialised`: the kernel waits for every warp
    group product by itself, so nothing overlaps. `copies`: bulk copies (TMA) or asynchronous ones.
    `exponentials` and `multiplies` (float32, additions fused or not) count in the loop.
    """

    registers: int
    spills: int
    instructions: int
    mma_kind: str | None
    serialised: bool
    loop_instructions: int
    loop_mma: int
    loop_spills: int
    loop_exponentials: int
    loop_multiplies: int
    bulk_copies: int
    async_copies: int

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


def read_cubin(cubin: bytes, tools: Path) -> MachineCode:
    """What `cubin` is made of, by nvdisasm and cuobjdump from the folder `tools`."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        listing = _run(tools / "nvdisasm", "-c", file.name)
        usage = _run(tools / "cuobjdump", "-res-usage", file.name)
    return describe(Listing.parse(listing), registers=int(_first(r"REG:(\d+)", usage)))


def describe(listing: Listing, *, registers: int) -> MachineCode:
    """The figures of a listing."""
    whole = listing.mix()
    # of several kinds that in half precision is told
    kinds = sorted(
        (name for name in whole if _MMA.fullmatch(name)), key=lambda name: "H" not in name
    )
    of_groups = sum(whole[kind] for kind in kinds if _GROUP.fullmatch(kind))
    loops = [listing.mix(*span) for span in listing.loops()]
    # Of loops with tensor cores the one without masks is meant: it has the fewest instructions for
    # as many products, so the loop with the most products, then the shortest.
    loops.sort(key=lambda mix: (-sum(mix[kind] for kind in kinds), mix.total()))
    if not kinds:
        loops.sort(key=lambda mix: -mix.total())
    loop = loops[0] if loops else Counter[str]()
    return MachineCode(
        registers=registers,
        spills=whole["LDL"] + whole["STL"],
        instructions=whole.total(),
        mma_kind=kinds[0] if kinds else None,
        serialised=0 < of_groups <= whole["WARPGROUP"],
        loop_instructions=loop.total(),
        loop_mma=sum(loop[kind] for kind in kinds),
        loop_spills=loop["LDL"] + loop["STL"],
        loop_exponentials=loop["MUFU"],
        loop_multiplies=loop["FMUL"] + loop["FFMA"] + 2 * (loop["FMUL2"] + loop["FFMA2"]),
        bulk_copies=whole["UTMALDG"] + whole["UBLKCP"],
        async_copies=whole["LDGSTS"],
    )


def _run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"no {pattern} in {text!r}")
    return found.group(1)
