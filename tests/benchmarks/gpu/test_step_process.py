"""Steps in processes of their own: whatever one does, the report is whole and the next goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rollcast.benchmarks.gpu import run_steps as module
from rollcast.benchmarks.gpu.report import OtherReport
from rollcast.benchmarks.gpu.run_steps import Plan, run_steps
from rollcast.benchmarks.gpu.step_process import NotHere, Outcome, Send, run_apart
from rollcast.benchmarks.gpu.steps import HALVES, STEPS, Step, parse_steps

CAP_S = 60.0


def good(send: Send) -> None:
    send({"note": "a", "value": 1})


def wrong(send: Send) -> None:
    send({"wrong": "an error of 3"})


def raises(send: Send) -> None:
    good(send)
    raise RuntimeError("CUDA error: an illegal memory access")


def dies(send: Send) -> None:
    good(send)
    os.kill(os.getpid(), signal.SIGKILL)


def exits(send: Send) -> None:
    os._exit(7)


def lacks(send: Send) -> None:
    raise NotHere("needs av")


def hangs(send: Send) -> None:
    """With a process beside it, in a session that does not end by itself."""
    beside = subprocess.Popen(["sleep", "600"])
    send({"note": "beside", "value": beside.pid})
    time.sleep(600)


@pytest.mark.parametrize(
    ("work", "status", "why"),
    [
        (good, "good", ""),
        (wrong, "wrong", "an error of 3"),
        (raises, "failed", "RuntimeError: CUDA error: an illegal memory access"),
        (dies, "crashed", "ended by SIGKILL"),
        (exits, "crashed", "ended with 7"),
        (lacks, "skipped", "needs av"),
    ],
)
def test_every_end_is_told(work: Callable[[Send], None], status: str, why: str) -> None:
    outcome = run_apart(work, CAP_S)
    assert (outcome.status, outcome.why) == (status, why)
    if work in (good, raises, dies):
        assert outcome.results == {"a": 1}
    if work is raises:
        assert any("illegal memory access" in line for line in outcome.log)


def test_what_hangs_is_ended_with_all_that_it_started() -> None:
    outcome = run_apart(hangs, 0.5)
    assert outcome.status == "overran"
    beside = Path(f"/proc/{outcome.results['beside']}/stat")
    # one that nobody waits for stays behind as a name alone
    assert not beside.exists() or " Z " in beside.read_text()


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Three steps on a machine that need not be looked at."""
    monkeypatch.setattr(module, "warm_up", lambda: None)
    monkeypatch.setattr(module, "_machine", lambda plan: {"device": "a GPU"})
    return Plan(tmp_path / "gpu.json", (0, 1, 2), "cuda")


def works(*each: Callable[[Send], None]) -> Callable[[Step, Plan], Callable[[Send], None]]:
    return lambda step, plan: each[step.number]


def run(plan: Plan, *each: Callable[[Send], None]) -> bool:
    return run_steps(plan, lambda text: None, lambda step, outcome: None, work_of=works(*each))


def read(plan: Plan) -> dict[str, str]:
    return {k: v["status"] for k, v in json.loads(plan.out.read_text())["steps"].items()}


def test_the_next_step_goes_on(plan: Plan) -> None:
    assert not run(plan, dies, wrong, good)
    assert read(plan) == {"0": "crashed", "1": "wrong", "2": "good"}


def test_what_is_skipped_is_not_wrong(plan: Plan) -> None:
    assert run(plan, good, lacks, good)


def test_a_later_call_keeps_the_steps_of_an_earlier_one(plan: Plan) -> None:
    run(Plan(plan.out, (0, 1), "cuda"), good, good, good)
    run(Plan(plan.out, (1, 2), "cuda"), dies, dies, good)
    assert read(plan) == {"0": "good", "1": "crashed", "2": "good"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 0}'])
def test_another_file_is_left_alone(plan: Plan, content: str) -> None:
    plan.out.write_text(content)
    with pytest.raises(OtherReport, match="holds no such report"):
        run(plan, good, good, good)
    assert plan.out.read_text() == content


def test_results_of_another_machine_are_left_alone(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(plan, good, good, good)
    monkeypatch.setattr(module, "_machine", lambda plan: {"device": "another"})
    with pytest.raises(OtherReport, match="another machine"):
        run(plan, good, good, good)


def test_whoever_is_killed_leaves_a_whole_report(plan: Plan) -> None:
    """At any moment: here in the middle of a step that has said something."""

    def slow(send: Send) -> None:
        good(send)
        send({"note": "pid", "value": os.getpid()})
        time.sleep(600)

    pid = os.fork()
    if pid == 0:
        try:
            run(plan, good, slow, good)
        finally:
            os._exit(0)
    steps: dict[str, dict] = {}
    for _ in range(3000):
        if plan.out.exists():
            steps = json.loads(plan.out.read_text())["steps"]
            if "pid" in steps.get("1", {}).get("results", {}):
                break
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert read(plan) == {"0": "good", "1": "under way"}
    step = Path(f"/proc/{steps['1']['results']['pid']}/stat")
    for _ in range(3000):
        if not step.exists() or " Z " in step.read_text():
            break
        time.sleep(0.01)
    else:
        pytest.fail("the step outlived its parent")


def test_steps_are_named() -> None:
    assert parse_steps("0-3") == HALVES[1] and parse_steps("8,4-7") == HALVES[2]
    for text in ("", "9", "3-1", "a", "1-", "-1"):
        with pytest.raises(ValueError, match="steps"):
            parse_steps(text)


def test_all_of_it_takes_eight_minutes_and_a_half_fits_a_call() -> None:
    caps = [step.cap_s for step in STEPS]
    assert [step.number for step in STEPS] == list(range(9)) and sum(caps) <= 480
    for half in HALVES.values():
        assert sum(caps[number] for number in half) < 300


def test_an_outcome_takes_what_comes_last() -> None:
    outcome = Outcome()
    outcome.take({"note": "a", "value": 1})
    outcome.take({"note": "a", "value": 2})
    assert outcome.results == {"a": 2}
