"""The commands on what a fit has left, and on what the library holds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from temperance.cli.guard import Interrupts, guarded, outliving
from temperance.cli.options import AsJson, Backbone, Computes, Folder, Model, Rows, Seed, Trains


@guarded
def predict(
    folder: Folder,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="File with the columns of the fitted table; for images a folder, idx file or .npz.", show_default=False)
    ],
    out: Annotated[str | None, typer.Option(metavar="FILE", help="File to write, .csv or .parquet. Default: print CSV.", show_default=False)] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add a column with the probability of each class.")] = False,
    model: Model = None,
    backbone: Backbone = None,
    device: Computes = "cpu",
) -> None:
    """Predict the rows of a table, or images, with a fitted model.

    The output has one line for each input row; its last column, prediction, is the label or value. Images in files are named in the column file.
    """
    from temperance.cli.predicting import check_output, predict_file
    from temperance.cli.screen import complain
    from temperance.cli.standard_input import as_file
    from temperance.job import load

    place = None if out is None else check_output(out, data)
    with as_file(data) as file:
        count = predict_file(load(folder, **_build(model, backbone), device=device), file, place, proba=proba)
    if place is not None:
        complain(f"Wrote {count:,} {'prediction' if count == 1 else 'predictions'} to {place}.")


@guarded
def export(
    folder: Folder,
    onnx: Annotated[str | None, typer.Option(metavar="FILE.onnx", help="Write ONNX, for onnxruntime and others.", show_default=False)] = None,
    torch: Annotated[str | None, typer.Option(metavar="FILE.pt2", help="Write a torch program, for torch.export.load.", show_default=False)] = None,
    tensorboard: Annotated[str | None, typer.Option(metavar="FOLDER", help="Write the trials for TensorBoard: a new folder.", show_default=False)] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Write the trials to MLflow: http://HOST:5000 or sqlite:///FILE.", show_default=False)
    ] = None,
    model: Model = None,
    backbone: Backbone = None,
) -> None:
    """Write a fitted model as ONNX or as a torch program, for servers without temperance, or its trials for TensorBoard or MLflow.

    The model's file takes encoded rows, any number at a time, and returns probabilities or values. Its outputs are compared with the model's before
    it is kept. In TensorBoard and MLflow each trial is a run, with its strengths and curves.
    """
    from temperance.cli.exporting import show, show_recorded
    from temperance.cli.screen import Screen
    from temperance.job import load

    screen = Screen()
    if tensorboard is not None or mlflow is not None:
        from temperance.job.recording import record_fit

        show_recorded(screen, record_fit(folder, tensorboard=tensorboard, mlflow=mlflow), tensorboard)
        if onnx is None and torch is None:
            return
    for written in load(folder, **_build(model, backbone)).export(onnx=onnx, torch=torch):
        show(screen, written)


@guarded
def replay(
    folder: Folder,
    trial: Annotated[int, typer.Option(metavar="N", help="Number of the trial in the report.", show_default=False)],
    data: Rows = None,
    model: Model = None,
    backbone: Backbone = None,
    device: Trains = None,
) -> None:
    """Train one trial of a fit again, by itself, and compare its score.

    On the same machine, with the same number of threads, the score is the same number.
    """
    from temperance.cli.fitting import Progress, show_replay
    from temperance.cli.screen import Screen
    from temperance.job import replay_trial

    screen = Screen()
    with Progress(screen) as progress:
        result = replay_trial(folder, trial, data=data, model=model, backbone=backbone, device=device, on_progress=progress.update)
    show_replay(screen, result)


@outliving
def explain(
    folder: Folder,
    seeds: Annotated[int, typer.Option(metavar="N", help="Random seeds for each cocktail: more seeds give narrower intervals.")] = 8,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Time limit, such as 90s, 5m or 1h. Default: none.", show_default=False)] = None,
    data: Rows = None,
    model: Model = None,
    backbone: Backbone = None,
    device: Trains = None,
    as_json: AsJson = False,
) -> None:
    """Find out which regularizers of the winner help.

    The winner is trained without each of its regularizers, with each other one, and with other doses, over several seeds, and compared on the test rows.
    Writes explain.json and adds a section to report.html. If it is interrupted, the same command goes on.
    """
    from temperance.cli.explaining import show
    from temperance.cli.progress import Progress
    from temperance.cli.screen import Errors, Screen
    from temperance.job import explain_fit

    screen, interrupts = Screen(), Interrupts.current
    with Progress(Errors() if as_json else screen) as progress:

        def report(facts: Any) -> None:
            interrupts.check(answered=False)
            progress.update(facts)

        made = explain_fit(folder, seeds=seeds, budget=budget, data=data, model=model, backbone=backbone, device=device, on_progress=report)
    if as_json:
        from temperance.cli.screen import write_json
        from temperance.job.summary import plain

        write_json(plain(made.facts))
    else:
        show(screen, made.facts, folder)


@guarded
def robust(
    folder: Folder,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="File with the columns of the fitted table and the target; images with their labels.", show_default=False)
    ],
    eps: Annotated[
        list[float] | None,
        typer.Option(metavar="E", help="Size of the attack, in standard deviations of each column; for images, a share of their range. May be repeated."),
    ] = None,
    norm: Annotated[str, typer.Option(metavar="N", help="linf: every number changes by at most eps; l2: the length of the change is at most eps.")] = "linf",
    rows: Annotated[int, typer.Option(metavar="N", help="Attack at most N rows, drawn at random.")] = 1000,
    steps: Annotated[int, typer.Option(metavar="N", help="Gradient steps of an attack. Use 100 for a result to publish.")] = 20,
    restarts: Annotated[int, typer.Option(metavar="N", help="Random restarts of an attack.")] = 1,
    seed: Seed = 0,
    as_json: AsJson = False,
    model: Model = None,
    backbone: Backbone = None,
    device: Computes = "cpu",
) -> None:
    """Measure how a fitted model stands up to small changes of its inputs.

    Shows its score on rows with known targets under attacks of growing size, and under random noise of the same size.
    """
    from temperance.cli.robust import measure, show
    from temperance.cli.screen import Screen
    from temperance.job import load

    facts = measure(load(folder, **_build(model, backbone), device=device), data, eps=eps, norm=norm, rows=rows, steps=steps, restarts=restarts, seed=seed)
    if as_json:
        from temperance.cli.screen import write_json

        write_json(facts)
        return
    show(Screen(), facts, folder)


@guarded
def diagnose(
    folder: Folder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="The training data, with the target.", show_default=False)],
    validation: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Rows that the model has not seen. Default: the test rows of DATA, after fit --keep-test.", show_default=False),
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="E", help="Also judge this learning rate.", show_default=False)] = None,
    check: Annotated[list[str] | None, typer.Option(metavar="C", help="Run only this check. May be repeated.", show_default=False)] = None,
    rows: Annotated[int, typer.Option(metavar="N", help="Use at most N training and N validation rows, drawn at random.")] = 1024,
    seed: Seed = 0,
    out: Annotated[str | None, typer.Option(metavar="FILE.html", help="Also write a page with figures.", show_default=False)] = None,
    as_json: AsJson = False,
    model: Model = None,
    backbone: Backbone = None,
    device: Computes = "cpu",
) -> None:
    """Check a fitted model for common problems, and say what would help.

    Each finding has its numbers, what they mean, a verdict (fine, look or bad) and a remedy.
    """
    from temperance.cli.diagnosing import check_page, examine, show, write_page
    from temperance.cli.screen import Screen, complain
    from temperance.job import load

    page = None if out is None else check_page(out)
    saved = load(folder, **_build(model, backbone), device=device)
    facts = examine(saved, folder, data, validation=validation, lr=lr, checks=check or None, rows=rows, seed=seed)
    if page is not None:
        write_page(page, facts)
    if as_json:
        from temperance.cli.screen import write_json

        write_json(facts)
    else:
        show(Screen(), facts)
    if page is not None:
        complain(f"Wrote {page}.")


@guarded
def list_all(as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every strength.")] = False) -> None:
    """List the regularizers and their strengths."""
    from temperance.catalogue import as_listed, rows

    if as_json:
        from temperance.cli.screen import write_json

        write_json(as_listed(rows()))
        return
    from temperance.cli.cards import show_list
    from temperance.cli.screen import Screen

    show_list(Screen(), rows())


@guarded
def describe(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a regularizer, or of anything else in the list.", show_default=False)]) -> None:
    """Show the card of one entry of the list.

    What it does, its formula, when it helps, what it combines with, its strengths, and an example.
    """
    from temperance.catalogue import find
    from temperance.cli.cards import show_card
    from temperance.cli.screen import Screen

    show_card(Screen(), find(name))


def _build(model: str | None, backbone: str | None) -> dict[str, Any]:
    if model is None:
        return {"backbone": backbone}
    from temperance.job.build import load_build

    return {"build": load_build(model), "backbone": backbone}
