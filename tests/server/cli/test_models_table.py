"""The table of models in the docs is what the presets say."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcast.models.registry import own_models
from rollcast.models.wan.presets.catalogue import preset_named, presets
from rollcast.server.cli import models_table
from rollcast.server.cli.app import main
from rollcast.server.cli.failure import Failure
from rollcast.server.cli.models_table import BEGIN, END, placed

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["self-forcing", "longlive-2"])
def test_the_docs_have_the_row_of_a_preset(name: str) -> None:
    """One of each latent space; of all of them: the test below."""
    plans = models_table._Plans.of(preset_named(name))
    lines = DOCUMENT.read_text().splitlines()
    for row in (models_table._row(plans), models_table._memory_row(plans.bf16)):
        assert f"| {' | '.join(row)} |" in lines


@pytest.mark.long
def test_the_docs_have_what_the_presets_say(tmp_path: Path) -> None:
    """If this fails: `rollcast models table --write docs/models.md`."""
    copy = tmp_path / "models.md"
    text = DOCUMENT.read_text()
    copy.write_text(placed(text, "an older table"))
    with pytest.raises(SystemExit) as end:
        main(["models", "table", "--write", str(copy)])
    assert end.value.code == 0
    assert copy.read_text() == text
    for name in (*own_models(), *presets()):
        assert f"| `{name}` |" in text and f"`rollcast serve --model {name}`" in text


def test_a_table_takes_the_place_between_its_marks_alone() -> None:
    before, behind = "# Models\n\n", "\n\nMore.\n"
    document = f"{before}{BEGIN}\nold | old\n{END}{behind}"
    assert placed(document, "new") == f"{before}{BEGIN}\n\nnew\n\n{END}{behind}"


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_document_without_marks_is_left_alone(document: str) -> None:
    with pytest.raises(Failure, match="no place for the table"):
        placed(document, "new")
