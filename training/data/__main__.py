"""Command line: `python -m training.data render` and `python -m training.data sheet`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.data.assets import MissingAssetError
from training.data.held_out import draw_portraits
from training.data.plan import PRESETS
from training.data.render import render_dataset
from training.data.sheet import draw_sheet

app = typer.Typer(add_completion=False, help=__doc__, no_args_is_help=True)
Out = Annotated[Path, typer.Option(help="Folder of the data set.")]
PresetName = Annotated[str, typer.Option(help=f"One of {', '.join(PRESETS)}.")]


@app.command()
def render(
    out: Out = Path("var/data"),
    jobs: Annotated[int, typer.Option(min=1, help="Processes to render with.")] = 1,
    preset: PresetName = "full",
) -> None:
    """Render the data set; clips that exist and are valid are kept."""
    console = Console()
    if preset not in PRESETS:
        raise typer.BadParameter(f"no preset {preset!r}; expected one of {', '.join(PRESETS)}")
    try:
        render_dataset(out, PRESETS[preset], jobs, console)
    except MissingAssetError as error:
        console.print(f"[red]Cannot render:[/red] {error}")
        raise typer.Exit(1) from error


@app.command()
def sheet(
    out: Annotated[Path, typer.Option(help="Picture to write.")] = Path("var/data/sheet.png"),
    preset: PresetName = "full",
) -> None:
    """Draw a contact sheet: poses, mouth shapes and expressions of every look, scenes over time."""
    if preset not in PRESETS:
        raise typer.BadParameter(f"no preset {preset!r}; expected one of {', '.join(PRESETS)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_sheet(PRESETS[preset]).save(out)
    Console().print(f"wrote {out}")


@app.command()
def portraits(
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("var/portraits"),
    count: Annotated[int, typer.Option(min=1, help="People, each with two pictures.")] = 4,
) -> None:
    """Draw people whom no training has seen, with closed lips and with a smile that shows teeth."""
    console = Console()
    try:
        written = draw_portraits(out, count)
    except MissingAssetError as error:
        console.print(f"[red]Cannot render:[/red] {error}")
        raise typer.Exit(1) from error
    console.print(f"wrote {len(written)} pictures into {out}")


if __name__ == "__main__":
    app()
