"""The number of threads is what the measurements say."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from rollcast.models import cpu_threads
from rollcast.models.cpu_threads import choose_threads, one_thread


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 0.6, 3: 0.58, 4: 0.57}, 2),
        ({1: 1.0, 2: 0.95}, 1),
        ({1: 1.0, 2: 9.0, 3: 0.5}, 3),
        ({1: 1.0}, 1),
    ],
)
def test_fewest_threads_that_are_worth_it(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], best: int
) -> None:
    clock = 0.0

    def work() -> None:
        nonlocal clock
        clock += seconds[torch.get_num_threads()]

    monkeypatch.setattr(cpu_threads, "time", SimpleNamespace(perf_counter=lambda: clock))
    assert choose_threads(work, most=len(seconds)) == best
    assert torch.get_num_threads() == best


def test_one_thread_is_for_a_while() -> None:
    torch.set_num_threads(3)
    with pytest.raises(RuntimeError), one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == 3
