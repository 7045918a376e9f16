"""Weights into modules: every published layout, what does not fit is said, and no second copy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rollcast.models.student.causal_student import CausalStudent
from rollcast.models.wan.checkpoint import open_checkpoint
from rollcast.models.wan.names import Renamed, student_name
from rollcast.models.wan.weight_files import BadCheckpoint
from rollcast.models.wan.weights import WeightsDoNotFit, load_student, load_weights

StudentMaker = Callable[..., CausalStudent]


def same(student: CausalStudent, other: CausalStudent) -> bool:
    weights = other.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in student.state_dict().items())


@pytest.mark.parametrize(
    ("section", "prefix"),
    [
        (None, ""),
        (None, "model."),
        ("generator", "model."),
        ("generator_ema", "model._fsdp_wrapped_module."),
        ("generator_ema", "model._fsdp_wrapped_module._checkpoint_wrapped_module."),
        ("state_dict", "module.model."),
        ("model", "_orig_mod."),
    ],
)
def test_published_layouts(
    make_student: StudentMaker, tmp_path: Path, section: str | None, prefix: str
) -> None:
    student = make_student()
    named = {f"{prefix}{name}": tensor for name, tensor in student.state_dict().items()}
    path = tmp_path / "published.pt"
    other = {"model.x": torch.zeros(1)}
    torch.save({section: named, "critic": other, "step": 600} if section else named, path)
    loaded = load_student(path, student.config)
    assert same(student, loaded)
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


def test_averaged_weights_come_first_unless_others_are_asked_for(
    make_student: StudentMaker, tmp_path: Path
) -> None:
    student, averaged = make_student(seed=0), make_student(seed=1)
    path = tmp_path / "both.pt"
    torch.save({"generator": student.state_dict(), "generator_ema": averaged.state_dict()}, path)
    assert same(averaged, load_student(path, student.config))
    assert same(student, load_student(path, student.config, sections=("generator",)))


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_through_their_index_or_their_folder(
    suffix: str, make_student: StudentMaker, tmp_path: Path
) -> None:
    student = make_student()
    weights = student.state_dict()
    shards = {name: f"model-0000{k % 3 + 1}-of-00003.{suffix}" for k, name in enumerate(weights)}
    for shard in set(shards.values()):
        part = {name: weights[name] for name in weights if shards[name] == shard}
        (save_file if suffix == "safetensors" else torch.save)(part, tmp_path / shard)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": shards}))
    assert same(student, load_student(index, student.config))
    assert same(student, load_student(tmp_path, student.config))
    (tmp_path / f"model-00002-of-00003.{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match="model-00002-of-00003"):
        load_student(index, student.config)


def test_an_index_that_lies_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "one.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    for content, what in (
        ("{}", "no index"),
        ("[", "no index"),
        (json.dumps({"weight_map": [1]}), "no index"),
        (json.dumps({"weight_map": {"a": "../one.safetensors"}}), "beside its index"),
        (json.dumps({"weight_map": {"a": "one.safetensors", "b": "one.safetensors"}}), "'b'"),
    ):
        index.write_text(content)
        with pytest.raises(BadCheckpoint, match=what):
            open_checkpoint(index)


def test_a_folder_with_several_files_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights"):
        open_checkpoint(tmp_path)
    for name in ("a.pt", "b.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(BadCheckpoint, match=r"a\.pt, b\.safetensors; name the file"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04cut off", b"\x80\x02}q\x00", bytes(100)]
)
@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_any_other_bytes_are_an_error_that_names_the_file(
    content: bytes, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadCheckpoint, match=name):
        open_checkpoint(tmp_path / name)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save({"generator": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(BadCheckpoint):
        open_checkpoint(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


def test_what_a_file_has_instead_of_weights_is_named(tmp_path: Path) -> None:
    torch.save({"optimizer": {"lr": 1.0}, "step": 3}, tmp_path / "o.pt")
    with pytest.raises(BadCheckpoint, match="has optimizer, step; expected weights"):
        open_checkpoint(tmp_path / "o.pt")
    torch.save([1, 2], tmp_path / "l.pt")
    with pytest.raises(BadCheckpoint, match="holds a list"):
        open_checkpoint(tmp_path / "l.pt")


def test_an_older_format_is_read_too(make_student: StudentMaker, tmp_path: Path) -> None:
    student = make_student()
    path = tmp_path / "old.pth"
    torch.save(student.state_dict(), path, _use_new_zipfile_serialization=False)
    assert same(student, load_student(path, student.config))


def test_a_type_is_changed_on_the_way(make_student: StudentMaker, tmp_path: Path) -> None:
    student = make_student()
    half = {name: t.half() for name, t in student.state_dict().items()}
    save_file(half, tmp_path / "half.safetensors")
    kept = load_student(tmp_path / "half.safetensors", student.config)
    assert kept.head.head.weight.dtype == torch.float16
    wide = load_student(tmp_path / "half.safetensors", student.config, dtype=torch.float32)
    assert torch.equal(wide.head.head.weight, half["head.head.weight"].float())


def test_what_is_loaded_is_its_own(make_student: StudentMaker, tmp_path: Path) -> None:
    """A file that is replaced or changed under a running server changes nothing in it."""
    student = make_student()
    save_file(student.state_dict(), tmp_path / "w.safetensors")
    loaded = load_student(tmp_path / "w.safetensors", student.config)
    with (tmp_path / "w.safetensors").open("r+b") as file:
        file.seek(-4000, 2)
        file.write(bytes(4000))
    assert same(student, loaded)


def test_what_does_not_fit_is_listed_in_one_error(make_student: StudentMaker) -> None:
    student = make_student()
    weights = student.state_dict()
    before = weights["head.modulation"].clone()
    weights = {name: tensor.clone() + 1 for name, tensor in weights.items()}
    del weights["head.modulation"]
    weights["blocks.9.surprise"] = torch.zeros(1)
    weights["patch_embedding.bias"] = torch.zeros(3)
    with pytest.raises(WeightsDoNotFit) as problem:
        load_weights(student, weights)
    message = str(problem.value)
    assert "1 missing: head.modulation" in message
    assert "1 left over: blocks.9.surprise" in message
    assert "1 misshapen: patch_embedding.bias is (3,), expected (48,)" in message
    assert torch.equal(student.head.modulation, before)
    assert problem.value.misfit.count == 3


def test_two_names_of_one_weight_are_refused() -> None:
    both = {"model.head.modulation": torch.zeros(1), "head.modulation": torch.zeros(1)}
    with pytest.raises(BadCheckpoint, match=r"are both head\.modulation"):
        Renamed(both, student_name)


_LOAD = """
import sys, threading, time, torch
from pathlib import Path
from rollcast.models.student.config import StudentConfig
from rollcast.models.wan.weights import load_student

def own():
    # memory of the process itself; pages of a mapped file can be given back at any moment
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

config = StudentConfig(dim=768, ffn_dim=3072, num_heads=6, num_layers=8, in_channels=16,
    out_channels=16, text_dim=64, text_len=8)
load_student(Path(sys.argv[2]), StudentConfig(dim=48, ffn_dim=64, num_heads=2, num_layers=2,
    in_channels=4, out_channels=4, text_dim=10, text_len=5, freq_dim=16))
before, peak, ended = own(), 0, threading.Event()

def watch():
    global peak
    while not ended.is_set():
        peak = max(peak, own())
        time.sleep(0.0005)

watcher = threading.Thread(target=watch)
watcher.start()
student = load_student(Path(sys.argv[1]), config, dtype=getattr(torch, sys.argv[3]))
ended.set()
watcher.join()
kept = sum(p.numel() * p.element_size() for p in student.parameters())
largest = max(p.numel() * p.element_size() for p in student.parameters())
print(kept, max(peak, own()) - before, largest)
"""


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("suffix", "dtype"),
    # each file once, and a load that converts and one that does not
    [
        ("safetensors", "float32"),
        ("pt", "bfloat16"),
        ("pt", "float32"),
        ("safetensors", "bfloat16"),
    ],
)
def test_no_second_copy_is_ever_in_memory(
    suffix: str, dtype: str, make_student: StudentMaker, tmp_path: Path
) -> None:
    """Peak memory of a load is the student's own and less than two of its largest tensors."""
    shape = {
        "dim": 768,
        "ffn_dim": 3072,
        "num_heads": 6,
        "num_layers": 8,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 64,
        "text_len": 8,
        "freq_dim": 256,
    }
    with torch.device("meta"):
        empty = CausalStudent(make_student(**shape).config)
    weights: dict[str, Tensor] = {k: torch.zeros(t.shape) for k, t in empty.state_dict().items()}
    small = make_student().state_dict()
    for name, content in (("large", weights), ("small", small)):
        if suffix == "pt":
            torch.save({"generator": content}, tmp_path / f"{name}.pt")
        else:
            save_file(content, tmp_path / f"{name}.safetensors")
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-c", _LOAD),
            *(str(tmp_path / f"{name}.{suffix}") for name in ("large", "small")),
            dtype,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    kept, peak, largest = map(int, done.stdout.split())
    assert kept > 100 << 20 if dtype == "float32" else kept > 50 << 20
    assert kept * 0.9 < peak < kept + 2 * largest + (8 << 20), (kept, peak, largest)
