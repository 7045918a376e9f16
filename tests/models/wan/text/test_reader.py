"""Prompts are read by a process of its own, which may die, and ends when nobody needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch

from rollcast.models.pipeline.nursery import can_fork
from rollcast.models.wan.text.embedding_bytes import from_bytes
from rollcast.models.wan.text.encoder import TextEncoder
from rollcast.models.wan.text.encoders import Encoders
from rollcast.models.wan.text.reader import TextFailed, TextFiles, TextReader
from rollcast.models.wan.text.store import TextStore

from ....processes import alive
from ....tiny_checkpoints import tiny_encoder, wan_encoder_weights, write_tokenizer

pytestmark = pytest.mark.processes

WAIT_S = 120.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TextFiles:
    """A tiny encoder's."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.save(wan_encoder_weights(tiny_encoder()), folder / "t5.pth")
    write_tokenizer(folder / "tokenizer")
    return TextFiles(folder / "t5.pth", folder / "tokenizer", 24)


@pytest.fixture
def reader(files: TextFiles, tmp_path: Path) -> Iterator[TextReader]:
    """One with a store of its own."""
    made = TextReader(files, TextStore(tmp_path / "store", files.fingerprint))
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def gone(pid: int) -> bool:
    return not alive(pid)


def test_what_it_reads_is_what_the_encoder_makes(reader: TextReader, files: TextFiles) -> None:
    assert reader.pid is None and not reader.has("a red fox")
    reading = [reader.read(text) for text in ("a red fox", "a green sea", "a red fox")]
    for each in reading:
        each.result(WAIT_S)
    pid = reader.pid
    assert pid is not None and reader.has("a green sea")
    encoder = TextEncoder(files.weights, files.tokenizer, files.text_len)
    for text in ("a red fox", "a green sea", "snow"):
        torch.testing.assert_close(from_bytes(reader.get(text)), encoder.encode(text))
    assert reader.pid == pid, "one process for all"
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
    reader.close()
    until(lambda: gone(pid))


def test_what_is_kept_needs_no_process(reader: TextReader) -> None:
    reader.store.put("a pier", b"kept")
    assert reader.read("a pier").done()
    assert reader.get("a pier") == b"kept" and reader.pid is None


def test_a_process_that_dies_costs_the_text_that_it_read_and_no_other(reader: TextReader) -> None:
    reader.read("a boat").result(WAIT_S)
    pid = reader.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    reading = reader.read("a dune")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(TextFailed, match="process ended"):
        reading.result(WAIT_S)
    reader.read("a dune").result(WAIT_S)
    assert reader.has("a dune") and reader.pid not in (None, pid)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.long
def test_it_ends_when_nobody_asks_for_a_while(files: TextFiles, tmp_path: Path) -> None:
    """Others stay; what they all were forked from ends with the last of them."""
    store, encoders = TextStore(tmp_path, files.fingerprint), Encoders()
    with (
        closing(TextReader(files, store, encoders=encoders)) as reader,
        closing(TextReader(files, store, idle_s=0.5, encoders=encoders)) as idler,
    ):

        def comes_and_goes() -> None:
            idler.warm()
            until(lambda: idler.pid is not None)
            pid = idler.pid
            assert pid is not None
            until(lambda: idler.pid is None and gone(pid))
            with idler._lock:
                pass  # what follows the end of its process is through

        reader.read("a boat").result(WAIT_S)
        other = reader.pid
        assert other is not None
        origin = parent(other)
        comes_and_goes()
        reader.read("a dune").result(WAIT_S)
        assert reader.pid == other and not gone(origin)
        reader.close()
        comes_and_goes()
        assert gone(origin) == can_fork()
        idler.read("a street").result(WAIT_S)


def test_closing_does_not_wait_for_a_process_that_hangs(reader: TextReader) -> None:
    reader.read("a boat").result(WAIT_S)
    pid = reader.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    reading = reader.read("a dune")
    begin_s = time.monotonic()
    reader.close()
    assert time.monotonic() - begin_s < WAIT_S / 4
    assert reading.done() and gone(pid)


def test_files_that_do_not_fit_are_told(files: TextFiles, tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    other = TextFiles(tmp_path / "other.pth", files.tokenizer, 24)
    reader = TextReader(other, TextStore(tmp_path / "store", other.fingerprint))
    with pytest.raises(TextFailed, match=r"BadCheckpoint.*no UMT5"):
        reader.get("a boat")
    reader.close()


def test_whoever_asks_needs_no_torch() -> None:
    code = "import sys, rollcast.models.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_it_ends_with_whoever_started_it(files: TextFiles, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from rollcast.models.wan.text.reader import *\n"
        "files = TextFiles(Path(sys.argv[1]), Path(sys.argv[2]), 24)\n"
        "reader = TextReader(files, TextStore(Path(sys.argv[3]), 'm'))\n"
        "reader.get('a boat'); print(reader.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    arguments = [str(files.weights), str(files.tokenizer), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    pid = int(done.stdout)
    until(lambda: gone(pid))
