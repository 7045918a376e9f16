"""Steps as they are typed."""

from __future__ import annotations

import pytest

from rollcast.server.cli.app import main
from rollcast.server.cli.step_list import parse_steps


def test_numbers_between_commas() -> None:
    assert parse_steps("1000,500") == (1000.0, 500.0)
    assert parse_steps(" 937.5 , 100") == (937.5, 100.0)
    assert parse_steps("2") == (1000.0, 500.0) and parse_steps("1000") == (1000.0,)
    for wrong in ("", "1000,", "two", "1000 500"):
        with pytest.raises(ValueError, match=r"--steps .* like 1000,500"):
            parse_steps(wrong)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--steps", "fast"), "or numbers between commas"),
        (("--steps", "500,1000"), "--steps of self-forcing: got 500, 1000; expected falling"),
        (("--attention", "int8", "--device", "cpu"), "--attention int8 needs a CUDA device"),
        (("--quantize", "fp8-dynamic", "--device", "cpu"), "fp8-dynamic needs a CUDA device"),
    ],
)
def test_a_plan_says_what_cannot_be(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["models", "plan", "self-forcing", *options])
    assert end.value.code == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
