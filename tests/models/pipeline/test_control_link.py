"""The link between executor and stage: what is no message is refused."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rollcast.models.pipeline.sequential as a_module
from rollcast.models.contract import Controls, ModelInfo, ModelInputs, StreamRequest, TrackEvent
from rollcast.models.pipeline.control_link import (
    BadMessage,
    ControlLink,
    link_to_executor,
    link_to_stage,
)
from rollcast.models.pipeline.messages import (
    Assign,
    Assigned,
    Beat,
    Broken,
    Close,
    Done,
    Drop,
    FromStage,
    MadeChunk,
    Meeting,
    ModelSpec,
    Open,
    Ready,
    Refused,
    Restore,
    RestoredStream,
    Setup,
    SnapshotPart,
    Step,
    ToStage,
    Working,
    WorkSpan,
)
from rollcast.models.pipeline.stage_plan import Costs, StagePlan

FRAMES = np.arange(2 * 4 * 8 * 3, dtype=np.uint8).reshape(2, 4, 8, 3)
SOUND = np.array([-32768, 0, 7], np.int16)
NO_SOUND = np.zeros(0, np.int16)
INFO = ModelInfo(
    name="m", title="M", width=8, height=4, fps=25, chunk_frames=2, inputs=ModelInputs()
)
CHUNK = MadeChunk(3, SOUND, True, None, ("so",), (2, 4, 8, 3), FRAMES, None)


@pytest.fixture
def ends() -> Iterator[tuple[ControlLink[FromStage, ToStage], ControlLink[ToStage, FromStage]]]:
    ours, theirs = Pipe()
    yield link_to_stage(ours), link_to_executor(theirs)
    ours.close()
    theirs.close()


Ends = tuple[ControlLink[FromStage, ToStage], ControlLink[ToStage, FromStage]]


@pytest.mark.parametrize(
    "message",
    [
        Setup(
            1,
            2,
            ModelSpec("a:b", {"steps": 4, "folder": "x"}),
            Meeting(("first", 29401), b"\xff key", "0f"),
            Costs(0, (1,), 2),
        ),
        Assign(StagePlan(((0, 1), ()), 1), 7, 4),
        Open("a.0", StreamRequest(seed=2**63, scene="s", prompt="p", picture=b"\xff\xd8")),
        Close("a.0"),
        Restore("a.0", 16, {"prepare": memoryview(bytes(range(256)))}),
        Drop("a.0", 9),
        Step(
            "a.0",
            Controls(
                audio=SOUND, tracks=(TrackEvent(1, "move", 0.5, 1.0),), clear_tracks=None, seed=4
            ),
            True,
        ),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_to_a_stage_arrives_as_it_was(ends: Ends, message: ToStage) -> None:
    executor, stage = ends
    executor.send(message)
    assert equal(stage.receive(), message)


@pytest.mark.parametrize(
    "message",
    [
        Ready(INFO, Costs(0.1, (0.2, 0.3), 0.4), (1,)),
        Ready(),
        Assigned(),
        RestoredStream("a.0"),
        Beat(0.5),
        Working("a.0", 3),
        Done("a.0", 3, CHUNK, (WorkSpan(0, "step 0", 1.0, 2.0),)),
        Done("a.0", 3, None, ()),
        SnapshotPart("a.0", 15, {"cache.0": memoryview(b"\0")}, 4),
        Refused("a.0", "why"),
        Broken("Error: x", "trace", "a.0", 3),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_to_the_executor_arrives_as_it_was(ends: Ends, message: FromStage) -> None:
    executor, stage = ends
    stage.send(message)
    assert equal(executor.receive(), message)


def equal(a: Any, b: Any) -> bool:
    """By their fields: arrays of another kind or shape are not equal."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
    if isinstance(a, msgspec.Struct):
        return type(a) is type(b) and all(
            equal(getattr(a, name), getattr(b, name)) for name in a.__struct_fields__
        )
    if isinstance(a, Controls):
        return all(equal(getattr(a, n), getattr(b, n)) for n in Controls.__dataclass_fields__)
    return type(a) is type(b) and a == b


def given_bytes(data: bytes) -> None:
    """Both ends' decoders give a message or `BadMessage`, whatever comes."""
    for link in (link_to_stage, link_to_executor):
        ours, theirs = Pipe()
        with ours, theirs:
            theirs.send_bytes(data)
            with contextlib.suppress(BadMessage):
                assert isinstance(link(ours).receive(), msgspec.Struct)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=4000))
def test_any_bytes_are_a_message_or_a_bad_one(data: bytes) -> None:
    given_bytes(data)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=64)
    | st.sampled_from(["uint8", "int16", "object", "|O"])
)
PLAIN = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
MESSAGES = (*ToStage.__args__, *FromStage.__args__)
NAMES = [each.__name__ for each in MESSAGES]
FIELDS = sorted({*Controls.__dataclass_fields__}.union(
    *(each.__struct_fields__ for each in (*MESSAGES, MadeChunk))
))  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(FIELDS), PLAIN, max_size=8))
def test_any_fields_are_a_message_or_a_bad_one(name: str, fields: dict[str, Any]) -> None:
    given_bytes(msgspec.msgpack.encode({"type": name, **fields}))


def test_what_would_take_all_memory_or_all_of_the_stack_is_a_bad_message() -> None:
    deep = b"\x91" * 30_000 + b"\xc0"
    arguments = {"type": "Setup", "rank": 0, "world": 1}
    given_bytes(b"\xdd\xff\xff\xff\xff")
    given_bytes(deep)
    head = msgspec.msgpack.encode({**arguments, "model": {"factory": "a", "arguments": {"x": 0}}})
    given_bytes(head[:-1] + deep)
    huge = {"index": 0, "audio": ["int16", [2**40, 2**40], b""], "talking": False, "scene": None}
    made = {**huge, "ignored_words": [], "shape": [2**62] * 4, "frames": None, "slot": 2**63}
    given_bytes(
        msgspec.msgpack.encode(
            {"type": "Done", "stream": "", "index": 0, "chunk": made, "spans": []}
        )
    )


def refused(fields: dict[str, Any], match: str) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        theirs.send_bytes(msgspec.msgpack.encode(fields))
        with pytest.raises(BadMessage, match=match):
            link_to_stage(ours).receive()


def test_unknown_messages_and_fields_are_refused() -> None:
    refused({"type": "Pickle", "stream": "a"}, "Pickle")
    refused({"type": "Beat", "busy_s": 0.0, "more": 1}, "unknown field `more`")
    refused({"type": "Beat"}, "missing required field `busy_s`")
    refused({"type": "Open", "stream": "a"}, "Open")
    refused({"type": "Beat", "busy_s": "long"}, "busy_s")


@pytest.mark.parametrize(
    ("audio", "frames"),
    [
        (["float32", [1], bytes(4)], None),
        (["uint8", [2], bytes(2)], None),
        (["|O", [1], bytes(8)], None),
        (["int16", [2], bytes(2)], None),
        (["int16", [-1], bytes(2)], None),
        (["int16", [1, 1], bytes(2)], None),
        (["int16", [True], bytes(2)], None),
        (["int16", [1], "ab"], None),
        (["int16", [0], b""], ["int16", [1, 1, 1, 3], bytes(6)]),
        (["int16", [0], b""], ["uint8", [1, 1, 3], bytes(3)]),
        (["int16", [0], b""], ["uint8", [1, 1, 1, 3], bytes(2)]),
    ],
)
def test_arrays_of_another_kind_or_shape_are_refused(audio: list[Any], frames: Any) -> None:
    chunk = {
        "index": 0, "audio": audio, "talking": False, "scene": None, "ignored_words": [],
        "shape": [1, 1, 1, 3], "frames": frames, "slot": None if frames else 0,
    }  # fmt: skip
    refused({"type": "Done", "stream": "a", "index": 0, "chunk": chunk, "spans": []}, "no message")


def test_a_chunk_has_its_frames_in_one_place() -> None:
    for frames, slot in ((None, None), (FRAMES, 0)):
        with pytest.raises(ValueError, match="or lie in the arena"):
            MadeChunk(3, SOUND, True, None, (), (2, 4, 8, 3), frames, slot)


def test_only_sound_and_frames_can_be_sent(ends: Ends) -> None:
    with pytest.raises(ValueError, match="sound float64"):
        Step("a", Controls(audio=np.zeros(3)), False)
    executor, _ = ends
    spec = ModelSpec("a:b", {"weights": np.zeros(3)})
    with pytest.raises(NotImplementedError, match="arrays are uint8 or int16"):
        executor.send(Setup(0, 1, spec))


def test_nothing_in_the_pipeline_can_unpickle() -> None:
    """Nor run what it was sent: `Connection.send` and `recv` pickle, `eval` and `exec` run."""
    folder = Path(a_module.__file__).parent
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
                assert "Queue" not in {alias.name for alias in node.names}, path
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec"), (path, node.lineno)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("send", "recv"):
                    called_on = ast.unparse(node.func.value)
                    # messages through a `ControlLink`, and tensors through NCCL
                    assert called_on in SENDERS, (path, node.lineno, called_on)
                assert node.func.attr not in ("allow_pickle", "recv_into"), (path, node.lineno)
                bad = [word.arg for word in node.keywords if word.arg == "allow_pickle"]
                assert not bad, (path, node.lineno)
            assert not {name.split(".")[0] for name in names} & banned, path


SENDERS = {
    "self", "self._pool", "member.link", "self._link", "heartbeat", "self._heartbeat", "dist",
    "self._links",
}  # fmt: skip
