"""The commands and their options. What they need is imported when they run, so that asking for help stays quick."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temperance.cli.commands import describe, diagnose, explain, export, list_all, predict, replay, robust
from temperance.cli.guard import Interrupts, outliving
from temperance.cli.lab import app as lab_app
from temperance.cli.options import Backbone, Model, Seed, Storage, StudyName

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_BUDGET = "5m"

app = typer.Typer(
    name="temperance",
    help="Find the regularizers, and their strengths, that make a neural network generalize best on your data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; leaves with exit code 0, 1 (a bug), 2 (bad input), or 128 and a signal's number (interrupted with nothing to show)."""
    from temperance.cli.screen import forgiving
    from temperance.cli.waiting import limit_spinning

    limit_spinning(os.environ)
    forgiving()
    app(prog_name="temperance")


def _version(wanted: bool) -> None:
    if wanted:
        from temperance import __version__

        typer.echo(f"temperance {__version__}")
        raise typer.Exit


app.add_typer(lab_app, name="lab")


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")] = False) -> None:
    pass


@app.command()
@outliving
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="CSV, TSV, Excel, Parquet, Arrow or Feather file with a header; for images class folders, a list of files in such a table, idx or .npz.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column to predict; repeat it for several labels or values. Not for images in folders.", show_default=False),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for the results. Default: the name of the data, with -temperance.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier fit in DIR.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a fit in DIR that ended early: the same command, with --resume. Starts a new fit if there is none.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Time limit for everything, such as 90s, 5m or 1h. Default: 5m, or none with --trials.", show_default=False),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Number of cocktails to try. Without --budget, the same seed gives the same model.", show_default=False)
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="M", help="Metric to optimize: accuracy, balanced_accuracy, log_loss, auc, average_precision, rmse, mae or r2.", show_default=False
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="T", help="classification, multilabel or regression. Default: a guess from the target.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FILE.py:build", help="Your own network: build(data) returns an nn.Module. The file is run.", show_default=False)
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.py:build|timm:NAME",
            help="For images: a network without its last layer, whose features are learned from. The file is run.",
            show_default=False,
        ),
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Test set. Default: a fifth of DATA.", show_default=False)] = None,
    keep_test: Annotated[
        bool, typer.Option("--keep-test", help="Do not train the final model on the test rows. Default: score on them, then train on all rows.")
    ] = False,
    ignore: Annotated[list[str] | None, typer.Option(metavar="COL", help="Column to leave out. May be repeated.", show_default=False)] = None,
    weight: Annotated[str | None, typer.Option(metavar="COL", help="Column with row weights.", show_default=False)] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Column to use although it looks like an identifier. May be repeated.", show_default=False)
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Rows with the same value, such as those of one person, stay together when the data are split.", show_default=False),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Column with dates or numbers: the latest rows are the test set, those before them validate.", show_default=False),
    ] = None,
    na: Annotated[
        str | None,
        typer.Option(metavar="LIST", help='Cells that count as missing, besides empty ones, such as "?,-". Default: NA, ?, ...', show_default=False),
    ] = None,
    dates: Annotated[
        str | None, typer.Option(metavar="ORDER", help="dayfirst or monthfirst, for ambiguous dates such as 03/12/2026.", show_default=False)
    ] = None,
    use: Annotated[
        list[str] | None, typer.Option(metavar="R", help="Regularizer to search over, besides the usual ones. May be repeated.", show_default=False)
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="R", help="Regularizer to leave out; neighbors leaves out networks that keep training rows. May be repeated.", show_default=False),
    ] = None,
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Number of CPU threads. Default: as torch sets it.", show_default=False)] = None,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory for rows and networks; of a larger Parquet file a part is held, and the rest trains from disk.")
    ] = "4G",
    strategy: Annotated[str | None, typer.Option(metavar="S", help="How trials are stopped early: keep or rungs.", show_default=False)] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="kadra2021: the networks and regularizers of Kadra et al. (2021), for classification of tables.", show_default=False),
    ] = None,
    ensemble: Annotated[int, typer.Option(metavar="N", help="Average up to N networks, unless that is worse; 1 for the winner alone.")] = 8,
    device: Annotated[str, typer.Option(metavar="D", help="Device to train on: auto (a GPU if there is one), cpu, cuda or cuda:1.")] = "cpu",
    precision: Annotated[str, typer.Option(metavar="P", help="Precision of matrix products in training: fp32, or bf16, which is faster and coarser.")] = "fp32",
    engine: Annotated[str, typer.Option(metavar="E", help="Where trials train: local, or ray for the machines of a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(metavar="A", help="Ray cluster: auto (the one that runs on this machine) or HOST:PORT.", show_default=False)
    ] = None,
    storage: Storage = None,
    study_name: StudyName = None,
) -> None:
    """Find the best cocktail for a table or for images.

    Before training it shows how it understood the data and what it will try. The folder then holds model/, report.html, summary.json, history.csv,
    cocktail.json and study.db.
    """
    from temperance.cli.loading import loading
    from temperance.cli.standard_input import as_file

    if budget is None and trials is None:
        budget = DEFAULT_BUDGET
    folder = Path(out) if out is not None else default_folder(data)
    settings = {
        "out": folder,
        "overwrite": overwrite,
        "resume": resume,
        "budget": budget,
        "trials": trials,
        "metric": metric,
        "task": task,
        "model": model,
        "backbone": backbone,
        "test": test,
        "ignore": ignore or (),
        "weight": weight,
        "na": na,
        "dates": dates,
        "keep": keep or (),
        "group": group,
        "time": time,
        "use": use or (),
        "without": without or (),
        "seed": seed,
        "threads": threads,
        "memory": memory,
        "strategy": strategy,
        "space": space,
        "ensemble": ensemble,
        "keep_test": keep_test,
        "device": device,
        "precision": precision,
        "engine": engine,
        "address": address,
        "storage": storage,
        "study_name": study_name,
    }

    def work(**watched: Any) -> Any:
        with loading():
            from temperance.job import fit_table
        with as_file(data) as file:
            return fit_table(file, target[0] if target and len(target) == 1 else target, **settings, **watched)

    _watch(work, folder, data)


def _watch(work: Callable[..., Any], folder: Path, data: str) -> None:
    """Do the work of a fit, show how it goes and what comes of it, and tell what an interrupt left."""
    from temperance.cli.fitting import Progress, show_result, show_understood
    from temperance.cli.screen import Screen, complain

    screen = Screen()
    progress = Progress(screen)
    started: list[bool] = []
    earlier = (folder / "model" / "model.json").is_file()
    interrupts = Interrupts.current

    def understood(facts: Any) -> None:
        started.append(True)
        show_understood(screen, facts, source=data)
        progress.start()

    def report(facts: Any) -> None:
        interrupts.check(answered=facts["phase"] in (ENDED, SCORING))
        progress.update(facts)

    try:
        from temperance.search.ending import ENDED, SCORING

        with progress:
            job = work(on_progress=report, on_understood=understood)
    except (KeyboardInterrupt, Exception) as error:
        if not isinstance(error, KeyboardInterrupt) and not interrupts.pending:
            raise
        from temperance.job.folder import MODEL, RUN

        left = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        if started and not earlier and (folder / RUN / MODEL[-1]).is_file():
            complain(f"Interrupted while the results were being written: {folder} holds the model, but no report.{left}")
            return
        when = "before the first evaluation was finished" if progress.best is None else "a second time, before the model was written"
        complain(f"Interrupted {when}: {f'the earlier fit in {folder} is as it was' if earlier else 'no model exists yet'}.{left}")
        raise typer.Exit(interrupts.code) from None
    show_result(screen, job.summary, job.folder)


@app.command()
@outliving
def finish(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a fit that ended early.", show_default=False)],
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="The data. Default: the file given to fit.", show_default=False)] = None,
    model: Model = None,
    backbone: Backbone = None,
    storage: Storage = None,
    study_name: StudyName = None,
) -> None:
    """Make a model from a fit that ended early.

    It uses the trials that were finished and trains nothing. The command of the fit with --resume can still go on.
    """
    from contextlib import nullcontext

    from temperance.cli.standard_input import as_file

    def work(**watched: Any) -> Any:
        from temperance.job import finish_fit

        with nullcontext() if data is None else as_file(data) as file:
            return finish_fit(folder, file, model=model, backbone=backbone, storage=storage, study_name=study_name, **watched)

    _watch(work, Path(folder), folder if data is None else data)


def default_folder(data: str) -> Path:
    """The folder of a fit whose user named none.

    Example:
        >>> default_folder("data/train.csv.gz").as_posix(), default_folder("data/images/").as_posix()
        ('train-temperance', 'images-temperance')
    """
    if data == "-":
        return Path("standard-input-temperance")
    path = Path(data) if Path(data).name else Path(data).resolve()
    packed = path.suffix.lower() in (".gz", ".bz2", ".zst", ".xz", ".zip")
    stem = Path(path.stem).stem if packed else path.stem
    return Path(f"{stem}-temperance")


for command in (predict, export, replay, explain, robust, diagnose, list_all, describe):
    app.command(name="list" if command is list_all else None)(command)
