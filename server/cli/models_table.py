"""`rollcast models table`: the table of all models that docs/models.md has, made of the presets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...models.contract import ModelInputs
from ...models.registry import load_model, own_models
from ...models.wan.presets.catalogue import presets
from ...models.wan.presets.preset import Preset
from ...models.wan.presets.text_prompt import TextPrompt
from .failure import EXIT_USAGE, Failure, as_failure

if TYPE_CHECKING:
    from ...models.wan.stream.memory_plan import MemoryPlan

BEGIN = "<!-- made by `rollcast models table --write` -->"
END = "<!-- end of what is made -->"
_SWITCHES = {"keep": "from the next chunk on", "recache": "the past is cached anew"}
_SWITCHES |= {"restart": "starts anew"}


def table(
    write: Annotated[
        Path | None, typer.Option(help="Put it between its marks in this file instead.")
    ] = None,
) -> None:
    """Print the table of all models with their needs, in Markdown; takes a minute."""
    text = models_table()
    if write is None:
        typer.echo(text)
        return
    with as_failure():
        old = write.read_text()
        write.write_text(placed(old, text))


def placed(document: str, text: str) -> str:
    """A document with `text` between its marks. Raises Failure where it has none."""
    before, begin, rest = document.partition(BEGIN)
    _, end, behind = rest.partition(END)
    if not (begin and end):
        raise Failure(
            "the file has no place for the table",
            hint=f"Put these lines where it should be:\n{BEGIN}\n{END}",
            exit_code=EXIT_USAGE,
        )
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{behind}"


def models_table() -> str:
    """Both tables: what there is, and where the memory of published models goes."""
    plans = [_Plans.of(preset) for preset in presets().values()]
    models = _markdown(
        (
            *("name", "licence", "student's file", "GB in bf16, 1 and 2 streams"),
            *("with 8-bit weights", "in fp32", "controls", "a new prompt", "published speed"),
            "command",
        ),
        [*map(_own_row, own_models()), *map(_row, plans)],
    )
    memory = _markdown(
        (
            *("name", "size", "student", "decoder", "encoders", "while a chunk is made"),
            *("cache of a stream", "its decoder and encoders", "its text", "set aside", "1 stream"),
        ),
        [_memory_row(each.bf16) for each in plans],
    )
    return f"{models}\n\nWhere the memory goes, in GB in bfloat16:\n\n{memory}"


@dataclass(frozen=True, slots=True)
class _Plans:
    """A preset's plans in several types."""

    preset: Preset
    bf16: MemoryPlan
    small: MemoryPlan
    fp32: MemoryPlan

    @classmethod
    def of(cls, preset: Preset) -> _Plans:
        # here, so that the other commands do not wait for torch
        import torch

        from ...models.wan.stream.memory_plan import plan_memory, quantized
        from ...models.wan.stream.planning import USUAL_GPU

        bf16 = plan_memory(preset, gpu=USUAL_GPU)
        small = quantized(bf16, preset, torch.bfloat16, "int8")
        # on a CPU nothing is set aside
        fp32 = replace(plan_memory(preset, dtype=torch.float32), reserve=0)
        return cls(preset, bf16, small, fp32)


def _own_row(name: str) -> Sequence[str]:
    inputs = load_model(name, threads=1).info.inputs
    command = f"`rollcast serve --model {name}`"
    return (
        *(f"`{name}`", "Apache-2.0", "in the package", "no GPU", "", "", _controls(inputs)),
        *("from the next chunk on", "", command),
    )


def _row(plans: _Plans) -> Sequence[str]:
    preset, name = plans.preset, plans.preset.name
    adapter = "" if preset.adapter is None else f", `{preset.adapter.source.path}`"
    text = preset.stated(TextPrompt)
    return (
        f"`{name}`",
        preset.licence,
        f"`{preset.weights.repository}` `{preset.weights.path}`{adapter}",
        f"{_gb(plans.bf16.total(1))}, {_gb(plans.bf16.total(2))}",
        _gb(plans.small.total(1)),
        _gb(plans.fp32.total(1)),
        _controls(preset.info().inputs),
        "" if text is None else _SWITCHES[text.switch],
        preset.speed,
        f"`rollcast serve --model {name}`",
    )


def _controls(inputs: ModelInputs) -> str:
    return ", ".join(sorted(inputs.names))


def _memory_row(plan: MemoryPlan) -> Sequence[str]:
    parts = (
        *(plan.student, plan.decoder, plan.conditioning, plan.working, plan.cache),
        *(plan.decoder_state + plan.conditioning_state, plan.text, plan.reserve, plan.total(1)),
    )
    return f"`{plan.name}`", f"{plan.size[0]}x{plan.size[1]}", *map(_gb, parts)


def _gb(count: int) -> str:
    return f"{count / 1e9:.1f}" if count >= 5e7 or not count else f"{count / 1e9:.2g}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def lines() -> Iterator[str]:
        yield f"| {' | '.join(heads)} |"
        yield "|---" * len(heads) + "|"
        for row in rows:
            yield f"| {' | '.join(row)} |"

    return "\n".join(lines())
