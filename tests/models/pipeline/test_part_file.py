"""Parts of snapshots: tensors there and back, in messages and in memory that processes share."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from rollcast.models.pipeline.frame_arena import FrameArena
from rollcast.models.pipeline.heartbeat import Heartbeat
from rollcast.models.pipeline.messages import Settled, SnapshotPart
from rollcast.models.pipeline.part_bytes import pack_part, unpack_part
from rollcast.models.pipeline.part_file import (
    SHARED_BYTES,
    PartFile,
    PartPlace,
    Room,
    bytes_of,
    can_share,
    in_message,
    pack_bytes,
)
from rollcast.models.pipeline.stage_loop import StageLoop

shares = pytest.mark.skipif(not can_share(), reason="Linux has such files")


def tensors(rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    wide = torch.randn(rows, 7, generator=generator)
    return {
        "bytes": torch.arange(5, dtype=torch.uint8),
        "half": wide.bfloat16().T,
        "wide": wide,
        "double": wide.double()[:1],
        "none": torch.zeros(0, 3),
        "flags": torch.tensor([True, False, True]),
        "number": torch.tensor(3),
    }


@pytest.mark.parametrize("room", [in_message, pytest.param(PartFile.create, marks=shares)])
@pytest.mark.parametrize("rows", [3, 4000])
def test_what_is_packed_is_unpacked(room: Room, rows: int) -> None:
    given = tensors(rows)
    part = pack_part(given, {"about": "x"}, room)
    made, metadata = unpack_part(part)
    assert metadata == {"about": "x"} and made.keys() == given.keys()
    for name, tensor in given.items():
        assert made[name].dtype == tensor.dtype and torch.equal(made[name], tensor), name
    # the format is safetensors', as theirs reads it
    for name, tensor in load(bytes(bytes_of(part))).items():
        assert torch.equal(tensor, given[name])


@shares
def test_another_process_opens_it_and_it_outlives_the_first() -> None:
    data = os.urandom(SHARED_BYTES)
    part = pack_bytes(data, PartFile.create)
    assert isinstance(part, PartFile)
    place = part.place
    code = (
        "import sys; from rollcast.models.pipeline.part_file import PartFile, PartPlace\n"
        f"part = PartFile.at(PartPlace({place.pid}, {place.fd}, {place.size}))\n"
        "sys.stdout.buffer.write(part.view)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout == data
    other = PartFile.at(place)
    del part
    gc.collect()
    assert bytes(other.view) == data
    with pytest.raises(OSError):
        PartFile.at(place)


@shares
def test_nothing_stays_open() -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    for _ in range(50):
        part = pack_part(tensors(4000), room=PartFile.create)
        made, _ = unpack_part(part)
        del part, made
    gc.collect()
    assert opened() == before


@shares
def test_a_place_that_is_smaller_than_it_says_is_refused() -> None:
    part = PartFile.create(10_000)
    with pytest.raises(ValueError, match="a file of 10000 bytes where 20000 should be"):
        PartFile.at(PartPlace(part.place.pid, part.place.fd, 20_000))


@shares
def test_parts_of_other_processes_than_the_stage_are_not_opened() -> None:
    """A stage on another machine could name any process here."""
    from rollcast.models.pipeline.launchers import LocalLauncher
    from rollcast.models.pipeline.messages import ModelSpec
    from rollcast.models.pipeline.stage_pool import StagePool

    pool = StagePool([LocalLauncher()], ModelSpec("x:y"))
    part = PartFile.create(SHARED_BYTES)
    assert pool.parts(0, SnapshotPart("a", 0, {"cache.0": part.place}, 1)) is None
    inline = memoryview(b"abc")
    assert pool.parts(0, SnapshotPart("a", 0, {"cache.0": inline}, 1)) == {"cache.0": inline}


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 64, (2).to_bytes(8, "little") + b"{]"])
def test_what_is_no_part_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        unpack_part(memoryview(data))


class Saving(StageLoop):
    """A stage that does nothing but save."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__(heartbeat, FrameArena.create())

    @property
    def _has_streams(self) -> bool:
        return True

    def save(self, index: int, fill: int) -> PartFile:
        data = bytes([fill]) * SHARED_BYTES
        part = pack_bytes(data, self._room("a", index, "state"))
        assert isinstance(part, PartFile)
        return part

    def files(self) -> int:
        return sum(map(len, self._saved.values()))

    def _assign(self, message: object) -> None: ...
    def _open(self, message: object) -> None: ...
    def _step(self, message: object) -> None: ...
    def _save_now(self, message: object) -> None: ...
    def _restore(self, message: object) -> None: ...
    def _close(self, stream: str) -> None:
        self._forget_saved(stream)


@pytest.fixture
def stage() -> Iterator[Saving]:
    ours, theirs = Pipe()
    stage = Saving(Heartbeat(ours))
    yield stage
    assert stage._arena is not None
    stage._arena.close()
    ours.close()
    theirs.close()


@shares
def test_what_is_settled_is_not_written_over_and_what_is_older_is(stage: Saving) -> None:
    first = stage.save(15, 1)
    kept = PartFile.at(first.place)
    second = stage.save(31, 2)
    assert bytes(kept.view[:1]) == b"\x01", "nobody said that it is not needed"
    stage.receive(Settled("a", 31))
    third = stage.save(47, 3)
    assert third.place == first.place and bytes(kept.view[:1]) == b"\x03"
    # 47 is not whole yet, and 31 is what a stream would go on from
    fourth = stage.save(63, 4)
    assert fourth.place not in (second.place, third.place)
    assert bytes(second.view[:1]) == b"\x02" and bytes(third.view[:1]) == b"\x03"
    stage.receive(Settled("a", 63))
    assert stage.save(79, 5).place in (second.place, third.place)
    assert bytes(fourth.view[:1]) == b"\x04"


@shares
def test_no_more_than_three_files_are_kept_of_a_part(stage: Saving) -> None:
    for index in range(15, 400, 16):
        stage.save(index, 1)
        assert stage.files() <= 3
    stage._close("a")
    assert stage.files() == 0


@shares
def test_a_part_of_another_size_gets_room_of_its_own(stage: Saving) -> None:
    first = stage.save(15, 1)
    stage.save(31, 2)
    stage.receive(Settled("a", 31))
    part = pack_bytes(bytes(SHARED_BYTES + 1), stage._room("a", 47, "state"))
    assert isinstance(part, PartFile) and part.place.fd != first.place.fd
    assert isinstance(pack_bytes(b"small", stage._room("a", 47, "state")), memoryview)
