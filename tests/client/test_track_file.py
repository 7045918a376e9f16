"""Scripts of tracks and prompts: order, windows of time, and errors that name the field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollcast.client.track_file import load_script


def script(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "tracks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_points_come_in_time_order_and_once(tmp_path: Path) -> None:
    points = [
        {"t_ms": 160, "id": 1, "phase": "up", "x": 1, "y": 0},
        {"t_ms": 0, "id": 1, "phase": "down", "x": 0.5, "y": 0.5},
        {"t_ms": 159.9, "id": 1, "phase": "move", "x": 0.75, "y": 0.25},
    ]
    loaded = load_script(script(tmp_path, {"points": points}))
    assert [p.phase for p in loaded.points_between(0, 160)] == ["down", "move"]
    assert [p.phase for p in loaded.points_between(160, 320)] == ["up"]


def test_the_newest_prompt_of_a_chunk_wins(tmp_path: Path) -> None:
    prompts = [{"t_ms": 10, "text": "a"}, {"t_ms": 20, "text": "b", "transition_chunks": 2}]
    loaded = load_script(script(tmp_path, {"prompts": prompts}))
    chosen = loaded.prompt_between(0, 160)
    assert chosen is not None
    assert (chosen.text, chosen.transition_chunks) == ("b", 2)
    assert loaded.prompt_between(160, 320) is None


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("nope", "the file"),
        ({"points": [{"t_ms": 0, "phase": "down", "x": 2, "y": 0}]}, r"points\[0\]\.x"),
        ({"points": [{"t_ms": 0, "phase": "press", "x": 0, "y": 0}]}, r"points\[0\]\.phase"),
        ({"points": [{"phase": "down", "x": 0, "y": 0}]}, r"points\[0\]\.t_ms"),
        ({"point": []}, "point"),
        ({"prompts": [{"t_ms": -1, "text": ""}]}, r"prompts\[0\]\.t_ms"),
    ],
)
def test_errors_name_the_field(tmp_path: Path, content: object, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        load_script(script(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        load_script(tmp_path / "nothing.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_byte_order_mark_is_understood(tmp_path: Path, encoding: str) -> None:
    content = {"prompts": [{"t_ms": 0, "text": "étonnée"}]}
    path = tmp_path / "tracks.json"
    path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert load_script(path).prompts[0].text == "étonnée"


def test_the_example_with_a_mark_is_read() -> None:
    inputs = Path(__file__).parents[1] / "fixtures" / "inputs"
    assert len(load_script(inputs / "bom.json").points) == 1


def test_what_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "tracks.json").write_bytes(b'{"points": "\xff\xfe\xfa"}')
    with pytest.raises(ValueError, match="not text in UTF-8"):
        load_script(tmp_path / "tracks.json")
    with pytest.raises(ValueError, match="is a folder"):
        load_script(tmp_path)
