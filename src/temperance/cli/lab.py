"""The commands of the lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from temperance.cli.guard import guarded
from temperance.cli.options import AsJson

if TYPE_CHECKING:
    from pathlib import Path

    from temperance.lab import Verdict

NOT_SOUND = 3

app = typer.Typer(
    help="Claims about regularization, each with an experiment that could refute it and a control with which it must fail.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Out = Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder for HTML pages.", show_default=False)]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer seeds and steps.")]
Mnist = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="A folder with MNIST's idx files, for the experiments on images (default: 1,797 small digits).", show_default=False),
]


@app.command(name="list")
@guarded
def list_all(as_json: AsJson = False) -> None:
    """List the experiments, each with its question."""
    from temperance.cli.screen import Screen, write_json
    from temperance.lab import TOPICS, experiments

    known = experiments()
    if as_json:
        fields = ("topic", "question", "claim", "source", "printed", "control", "seeds", "slow", "takes_data", "takes_images")
        rows = [{"name": name, **{field: getattr(kind, field) for field in fields}} for name, kind in known.items()]
        write_json(rows)
        return
    from rich.text import Text

    screen = Screen()
    for topic in TOPICS:
        own = [(name, kind) for name, kind in known.items() if kind.topic == topic]
        if own:
            screen.heading(f"{topic} ({len(own)})")
            table = screen.table(("name", "question"))
            table.columns[0].no_wrap = True
            for name, kind in own:
                table.add_row(name, Text(kind.question))
            screen.show(table)
    screen.show(Text(), Text("temperance lab run NAME runs one of them."))


@app.command(name="run")
@guarded
def run_one(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of an experiment, from temperance lab list.", show_default=False)],
    out: Out = None,
    quick: Quick = False,
    data: Annotated[str | None, typer.Option(metavar="FILE", help="A table of your own, for the experiments that take one.", show_default=False)] = None,
    target: Annotated[str | None, typer.Option(metavar="COL", help="The column of FILE to predict.", show_default=False)] = None,
    mnist: Mnist = None,
    as_json: AsJson = False,
) -> None:
    """Run one experiment and its control.

    The exit code is 3 if the claim does not hold, or if it also holds in the control.
    """
    from temperance.cli.screen import complain, write_json
    from temperance.lab import run

    folder = _folder(out)
    verdict = run(name, quick=quick, data=_own(data, target, mnist))
    if as_json:
        write_json(verdict.to_dict())
    else:
        _show(str(verdict))
    if folder is not None:
        path = folder / f"{verdict.name}.html"
        path.write_text(verdict.page(), encoding="utf-8")
        complain(f"Wrote {path}.")
    if not verdict.sound:
        raise typer.Exit(NOT_SOUND)


@app.command(name="all")
@guarded
def run_all(out: Out = None, quick: Quick = False, mnist: Mnist = None) -> None:
    """Run every experiment; with --out DIR, also write a gallery, DIR/index.html.

    The exit code is 3 if a claim does not hold, or if it also holds in its control.
    """
    from temperance.cli.screen import complain
    from temperance.lab import find, names, run
    from temperance.lab.page import gallery

    folder, images = _folder(out), _own(None, None, mnist)
    verdicts: list[Verdict] = []
    for name in names():
        verdict = run(name, quick=quick, data=images if find(name).takes_images else None)
        verdicts.append(verdict)
        _show(f"{verdict.word:20} {name} ({verdict.seconds:.1f} s)")
        if folder is not None:
            (folder / f"{name}.html").write_text(verdict.page(), encoding="utf-8")
            # after every experiment, so that an interrupted run leaves a gallery of what is there
            (folder / "index.html").write_text(gallery(verdicts), encoding="utf-8")
    if folder is not None:
        complain(f"Wrote {folder / 'index.html'}.")
    if not all(verdict.sound for verdict in verdicts):
        raise typer.Exit(NOT_SOUND)


def _show(text: str) -> None:
    from rich.text import Text

    from temperance.cli.screen import Screen

    Screen().show(Text(text))


def _folder(out: str | None) -> Path | None:
    if out is None:
        return None
    from pathlib import Path

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _own(data: str | None, target: str | None, mnist: str | None) -> Any:
    """The rows of a table of one's own, the images of a folder, or None."""
    from temperance.core.errors import ConfigError, expected

    if (data is None) != (target is None):
        raise ConfigError(expected("--data and --target", "lab run", "to be given together", data or target))
    if mnist is not None:
        if data is not None:
            raise ConfigError(expected("--mnist", "lab run", "to be given without --data", mnist, "Leave one of them out."))
        return _images(mnist)
    if data is None or target is None:
        return None
    from temperance.data import read_table, table_dataset

    dataset, *_ = table_dataset(read_table(data), target)
    return dataset


def _images(folder: str) -> Any:
    """The images of a folder of idx files, from 0 to 1."""
    from pathlib import Path

    from temperance.core.errors import DataError, expected
    from temperance.data import as_dataset
    from temperance.data.image_arrays import read_idx_images

    if not Path(folder).exists():
        raise DataError(expected("--mnist", "lab", "to be a folder with idx files", folder, "The files are called train-images-idx3-ubyte and so on."))
    found = read_idx_images(Path(folder), labels=True, what="--mnist")
    return as_dataset((found.pixels / 255.0).astype("float32"), found.labels)
