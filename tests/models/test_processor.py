"""What the system tells of the processor."""

from pathlib import Path

from rollcast.models.processor import instructions, processor_name

TOLD = """processor	: 0
model name	: A Maker's Processor 9 @ 2.50GHz
flags		: fpu sse2 avx2 avx512f avx512_vnni amx_bf16 amx_tile hypervisor

processor	: 1
model name	: Another
flags		: fpu avx2
"""


def test_name_and_instructions_are_those_of_the_first(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(TOLD)
    assert processor_name(told) == "A Maker's Processor 9 @ 2.50GHz"
    assert instructions(told) == ("avx2", "avx512f", "avx512_vnni", "amx_tile", "amx_bf16")


def test_a_system_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert instructions(tmp_path / "none") == ()
    assert processor_name(tmp_path / "none")
