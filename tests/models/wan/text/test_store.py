"""What is kept of prompts: by text and model, for nobody else, and never too much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollcast.models.wan.text.store import TextStore, default_folder, fingerprint


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_what_is_put_is_there_for_its_text_and_model_alone(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "text", "one")
    assert store.get("a") is None and not store.has("a")
    store.put("a", b"first")
    assert store.has("a") and store.get("a") == b"first"
    assert store.get("b") is None
    assert TextStore(store.folder, "two").get("a") is None
    store.put("a", b"again")
    assert store.get("a") == b"again"
    assert len(list(store.folder.iterdir())) == 1


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / "open").mkdir(mode=0o777)
        for folder in (tmp_path / "new" / "text", tmp_path / "open"):
            store = TextStore(folder, "m")
            store.put("a secret prompt", b"x")
            (file,) = folder.iterdir()
            assert (mode(folder), mode(file)) == (0o700, 0o600)
            assert "secret" not in file.name
    finally:
        os.umask(before)


def test_it_never_holds_more_than_its_bytes_and_lets_the_longest_unused_go(tmp_path: Path) -> None:
    store = TextStore(tmp_path, "m", max_bytes=50)
    for number, text in enumerate("abcde"):
        store.put(text, bytes(10))
        os.utime(tmp_path / store.key(text), (number, number))
    assert store.get("a") == bytes(10), "which makes it the newest"
    store.put("f", bytes(15))
    assert [text for text in "abcdef" if store.has(text)] == ["a", "d", "e", "f"]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 50
    store.put("g", bytes(60))
    assert [text for text in "abcdefg" if store.has(text)] == ["g"]


def test_what_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TextStore(tmp_path, "m")

    def full(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            store.put("a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_it_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "rollcast" / "text"


def test_a_fingerprint_tells_encoders_apart(tmp_path: Path) -> None:
    file = tmp_path / "w"
    seen: set[str] = set()
    for content in (b"a" * 3_000_000, b"b" + b"a" * 2_999_999, b"a" * 2_999_999 + b"b", b"a"):
        file.write_bytes(content)
        seen.add(fingerprint((file,), 512))
    seen |= {fingerprint((file,), 24), fingerprint((file, file), 512)}
    assert len(seen) == 6
    copy = tmp_path / "elsewhere" / "w"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    assert fingerprint((copy,), 512) == fingerprint((file,), 512)
