"""The commands on what a fit has left, and on what the library holds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from temperance.cli.guard import Interrupts, guarded, outliving


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


@guarded
def replay(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)],
    trial: Annotated[int, typer.Option(metavar="N", help="Number of the trial, as in the report.", show_default=False)],
    data: Annotated[str | None, typer.Option(metavar="FILE", help="The rows given to fit. Default: where they were.", show_default=False)] = None,
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
        result = replay_trial(folder, trial, data=data, model=model, device=device, on_progress=progress.update)
    show_replay(screen, result)


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

    screen, interrupts = Screen(), Interrupts.current
    with Progress(Errors() if as_json else screen) as progress:

        def report(facts: Any) -> None:
            interrupts.check(answered=False)
            progress.update(facts)

        made = explain_fit(folder, seeds=seeds, budget=budget, data=data, model=model, device=device, on_progress=report)
    if as_json:
        import json

        from temperance.cli.screen import write_data
        from temperance.job.summary import plain

        write_data(json.dumps(plain(made.facts), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        show(screen, made.facts, folder)


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
