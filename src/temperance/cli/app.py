"""The commands and their options. What they need is imported when they run, so that asking for help stays quick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temperance.cli.guard import Interrupts, guarded, outliving
from temperance.cli.lab import app as lab_app

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_BUDGET = "5m"

app = typer.Typer(
    name="temperance",
    help="Find the regularizers, and their strengths, with which a neural network generalizes best on your data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; leaves with exit code 0, 1 (a bug), 2 (bad input), or 128 and a signal's number (interrupted with nothing to show)."""
    from temperance.cli.screen import forgiving

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
            help="CSV, TSV, Parquet, Arrow or Feather file with a header; for images an idx file, .npz, or a folder with a folder for each class.",
            show_default=False,
        ),
    ],
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column of a table to predict; once for each of several labels or values. None for images.", show_default=False),
    ] = None,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder to write to. Default: the name of the file and -temperance.", show_default=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier fit in DIR.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a fit in DIR that ended early: give the same command and --resume. Begins where there is none.")
    ] = False,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time for everything, such as 90s, 5m or 1h. Default: 5m, or none with --trials.", show_default=False)
    ] = None,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Cocktails to try. Without --budget nothing depends on the clock.", show_default=False)
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="M", help="What decides: accuracy, balanced_accuracy, log_loss, auc, average_precision, rmse, mae or r2.", show_default=False),
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="T", help="classification, multilabel or regression, if the guess is wrong.", show_default=False)] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FILE.py:build", help="Your own network: build(data) returns an nn.Module. The file is run.", show_default=False)
    ] = None,
    test: Annotated[str | None, typer.Option(metavar="FILE", help="Untouched rows to score, instead of a fifth of DATA.", show_default=False)] = None,
    keep_test: Annotated[
        bool, typer.Option("--keep-test", help="Train the model without the test rows and score it. Default: score the search's, then train on all rows.")
    ] = False,
    ignore: Annotated[list[str] | None, typer.Option(metavar="COL", help="Column to leave out; may be repeated.", show_default=False)] = None,
    weight: Annotated[str | None, typer.Option(metavar="COL", help="Column with the weights of the rows.", show_default=False)] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Column to learn from though it names the rows; may be repeated.", show_default=False)
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Rows with the same value stay in one part of the split, as those of one person.", show_default=False),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COL", help="Dates or numbers: the latest rows test, those before them validate.", show_default=False)
    ] = None,
    na: Annotated[
        str | None,
        typer.Option(metavar="LIST", help='Cells that count as missing beside empty ones, such as "?,-". Default: NA, ?, ...', show_default=False),
    ] = None,
    dates: Annotated[
        str | None, typer.Option(metavar="ORDER", help="dayfirst or monthfirst, for dates such as 03/12/2026 that leave it open.", show_default=False)
    ] = None,
    use: Annotated[
        list[str] | None, typer.Option(metavar="R", help="Regularizer to search over beside the usual ones; may be repeated.", show_default=False)
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="R", help="Regularizer to leave out; `neighbors`: networks that keep training rows. May be repeated.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Processor threads. Default: as torch finds them.", show_default=False)] = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="What the networks trained at once may take.")] = "4G",
    strategy: Annotated[str | None, typer.Option(metavar="S", help="How trials are dropped: keep or rungs.", show_default=False)] = None,
    space: Annotated[
        str | None, typer.Option(metavar="NAME", help="kadra2021: networks and regularizers of Kadra et al. (2021), for classes in tables.", show_default=False)
    ] = None,
    ensemble: Annotated[int, typer.Option(metavar="N", help="Average at most N networks where that beats the winner; 1 for the winner alone.")] = 8,
    device: Annotated[str, typer.Option(metavar="D", help="Where networks train: auto (a graphics card where there is one), cpu, cuda or cuda:1.")] = "cpu",
    precision: Annotated[str, typer.Option(metavar="P", help="Of products in training: fp32, or bf16, which is faster and coarser.")] = "fp32",
) -> None:
    """Find the best cocktail for a table or for images.

    The data as understood and everything that will be tried is shown before training; the folder then holds model/, report.html, summary.json,
    history.csv, cocktail.json and study.db.
    """
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
    }

    def work(**watched: Any) -> Any:
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
        from temperance.job.folder import MODEL, RUN, kept

        left = f" {text}" if (text := kept(folder)) else ""
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
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="The rows. Default: the file given to fit.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
) -> None:
    """Make a model of the trials that a fit had finished when it ended early.

    Nothing is trained, and the trials stay: the command of the fit with --resume goes on with them.
    """
    from contextlib import nullcontext

    from temperance.cli.standard_input import as_file

    def work(**watched: Any) -> Any:
        from temperance.job import finish_fit

        with nullcontext() if data is None else as_file(data) as file:
            return finish_fit(folder, file, model=model, **watched)

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


@app.command()
@guarded
def predict(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="File with the columns of the fitted table; for images a folder, idx file or .npz.", show_default=False)
    ],
    out: Annotated[str | None, typer.Option(metavar="FILE", help="File to write, .csv or .parquet. Default: CSV to the screen.", show_default=False)] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Put a column with the probability of each class before the label.")] = False,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="D", help="Where the network computes: auto, cpu, cuda or cuda:1.")] = "cpu",
) -> None:
    """Predict the rows of a table, or images, with a fitted model.

    One row an input row, with the label or value in the last column, prediction. Images in files are named in the first column, file.
    """
    from temperance.cli.predicting import check_output, predict_file
    from temperance.cli.screen import complain
    from temperance.cli.standard_input import as_file
    from temperance.job import load

    place = None if out is None else check_output(out, data)
    with as_file(data) as file:
        count = predict_file(load(folder, **_build(model), device=device), file, place, proba=proba)
    if place is not None:
        complain(f"Wrote {count:,} {'prediction' if count == 1 else 'predictions'} to {place}.")


@app.command()
@guarded
def export(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    onnx: Annotated[str | None, typer.Option(metavar="FILE.onnx", help="Write ONNX, for onnxruntime and others.", show_default=False)] = None,
    torch: Annotated[str | None, typer.Option(metavar="FILE.pt2", help="Write a program for torch.export.load.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
) -> None:
    """Write a fitted model as ONNX or as a torch program, for servers without temperance.

    Encoded rows go in, as many at once as you like, and probabilities or values come out. The file is compared with the model on 1, 17 and 200
    rows before it gets its name.
    """
    from temperance.cli.exporting import show
    from temperance.cli.screen import Screen
    from temperance.job import load

    screen = Screen()
    for written in load(folder, **_build(model)).export(onnx=onnx, torch=torch):
        show(screen, written)


@app.command()
@guarded
def replay(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    trial: Annotated[int, typer.Option(metavar="N", help="Number of the trial, as in the report.", show_default=False)],
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="Where it trains. Default: where the fit did.", show_default=False)] = None,
) -> None:
    """Train one trial of a fit again, alone, and compare.

    On the same machine and with as many threads its score is the same number.
    """
    from temperance.cli.fitting import Progress, show_replay
    from temperance.cli.screen import Screen
    from temperance.job import replay_trial

    screen = Screen()
    with Progress(screen) as progress:
        result = replay_trial(folder, trial, model=model, device=device, on_progress=progress.update)
    show_replay(screen, result)


@app.command()
@outliving
def explain(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    seeds: Annotated[int, typer.Option(metavar="N", help="Networks of each cocktail: more seeds, narrower intervals.")] = 8,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time for everything, such as 90s, 5m or 1h. Default: as long as it takes.", show_default=False)
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The rows given to fit. Default: where they were.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="Where it trains. Default: where the fit did.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say which regularizers of the winner help, and which make no difference.

    The winner is trained without each of its regularizers, with each other one, and with other doses, over several seeds, and compared on the rows that
    fit kept apart. Writes explain.json and adds to report.html. What is measured is kept: the same command goes on after an interruption.
    """
    from temperance.cli.explaining import show
    from temperance.cli.progress import Progress
    from temperance.cli.screen import Errors, Screen
    from temperance.job import explain_fit

    screen = Screen()
    with Progress(Errors() if as_json else screen) as progress:
        made = explain_fit(folder, seeds=seeds, budget=budget, data=data, model=model, device=device, on_progress=progress.update)
    if as_json:
        import json

        from temperance.cli.screen import write_data
        from temperance.job.summary import plain

        write_data(json.dumps(plain(made.facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(screen, made.facts, folder)


@app.command()
@guarded
def robust(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="File with the columns of the fitted table and the target; images with their labels.", show_default=False)
    ],
    eps: Annotated[
        list[float] | None,
        typer.Option(metavar="E", help="How far a row may move; may be repeated. Standard deviations of each number; for images parts of their range."),
    ] = None,
    norm: Annotated[str, typer.Option(metavar="N", help="linf: each number by at most eps; l2: the row by at most eps in all.")] = "linf",
    rows: Annotated[int, typer.Option(metavar="N", help="Attack at most so many of the rows, drawn at random.")] = 1000,
    steps: Annotated[int, typer.Option(metavar="N", help="Gradient steps of an attack; 100 for a number to be published.")] = 20,
    restarts: Annotated[int, typer.Option(metavar="N", help="Starts of an attack.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="D", help="Where the network computes: auto, cpu, cuda or cuda:1.")] = "cpu",
) -> None:
    """Attack a fitted model with small changes of its inputs.

    What attacks of growing size leave of its score on rows with known answers, beside random noise of the same size.
    """
    from temperance.cli.robust import measure, show
    from temperance.cli.screen import Screen
    from temperance.job import load

    facts = measure(load(folder, **_build(model), device=device), data, eps=eps, norm=norm, rows=rows, steps=steps, restarts=restarts, seed=seed)
    if as_json:
        import json

        from temperance.cli.screen import write_data

        write_data(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return
    show(Screen(), facts, folder)


@app.command()
@guarded
def diagnose(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    data: Annotated[str, typer.Argument(metavar="DATA", help="File with the rows it was fitted on, with the target.", show_default=False)],
    validation: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Rows it has not seen. Default: those of DATA that fit --keep-test kept apart, if there are any.", show_default=False
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="E", help="A learning rate to judge.", show_default=False)] = None,
    check: Annotated[list[str] | None, typer.Option(metavar="C", help="Look at this only; may be repeated.", show_default=False)] = None,
    rows: Annotated[int, typer.Option(metavar="N", help="Look at no more rows of each kind, drawn at random.")] = 1024,
    seed: Annotated[int, typer.Option(metavar="N", help="Of everything random.")] = 0,
    out: Annotated[str | None, typer.Option(metavar="FILE.html", help="Write a page with figures too.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The file given to fit --model, which is run.", show_default=False)] = None,
    device: Annotated[str, typer.Option(metavar="D", help="Where the network computes: auto, cpu, cuda or cuda:1.")] = "cpu",
) -> None:
    """Look for what is wrong with a fitted model, and for what would help.

    Each finding has its numbers, what they mean, a verdict (fine, look or bad) and a remedy.
    """
    from temperance.cli.diagnosing import check_page, examine, show, write_page
    from temperance.cli.screen import Screen, complain
    from temperance.job import load

    page = None if out is None else check_page(out)
    saved = load(folder, **_build(model), device=device)
    facts = examine(saved, folder, data, validation=validation, lr=lr, checks=check or None, rows=rows, seed=seed)
    if page is not None:
        write_page(page, facts)
    if as_json:
        import json

        from temperance.cli.screen import write_data

        write_data(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(Screen(), facts)
    if page is not None:
        complain(f"Wrote {page}.")


@app.command(name="list")
@guarded
def list_all(as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every strength.")] = False) -> None:
    """List the regularizers and their strengths."""
    from temperance.catalogue import as_listed, rows

    if as_json:
        import json

        from temperance.cli.screen import write_data

        write_data(json.dumps(as_listed(rows()), indent=1, ensure_ascii=False) + "\n")
        return
    from temperance.cli.cards import show_list
    from temperance.cli.screen import Screen

    show_list(Screen(), rows())


@app.command()
@guarded
def describe(name: Annotated[str, typer.Argument(metavar="NAME", help="Of a regularizer, or of anything else in the list.", show_default=False)]) -> None:
    """Explain one entry of the list.

    What it does, its formula, when it helps, what it goes with, its strengths, and an example.
    """
    from temperance.catalogue import find
    from temperance.cli.cards import show_card
    from temperance.cli.screen import Screen

    show_card(Screen(), find(name))


def _build(model: str | None) -> dict[str, Any]:
    if model is None:
        return {}
    from temperance.job.prepare import load_build

    return {"build": load_build(model)}
