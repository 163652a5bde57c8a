"""What a fit leaves in its folder."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from temperance.core.files import write_whole
from temperance.core.interrupts import uninterrupted
from temperance.job.backbone import OPTION, remembered
from temperance.job.folder import FILES, MODEL, Claimed
from temperance.job.importance import importance
from temperance.job.judged import judged
from temperance.job.look import doubts
from temperance.job.parts import contents, sealed
from temperance.job.pictures import picture
from temperance.job.prepare import Prepared
from temperance.job.rivals import Rival
from temperance.job.saved import save_model
from temperance.job.slices import slices
from temperance.job.summary import make_summary, plain
from temperance.job.verdicts import rivals_beside, verdicts
from temperance.nets.backbone import TIMM
from temperance.search.budget import Clock
from temperance.search.result import Search
from temperance.search.score import predict


def write_fit(claim: Claimed, ready: Prepared, found: Search, rivals: list[Rival], run: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Write everything, the model first, and make it the fit of the folder."""
    from temperance.report.page import render

    began = time.monotonic()
    folder, new, seed = claim.path, claim.run, int(run["seed"])
    replace(found.recipe, balanced=ready.metric.name == "balanced_accuracy", model=run["model"]).to_json(new / "cocktail.json")
    specs = [c.plan.spec for c in found.refit.configs]
    model = found.model if ready.backbone is None else ready.backbone.under(found.model)
    save_model(new / "model", model, specs, ready.encoder, ready.target, run["model"], [new / "cocktail.json"])
    history = found.history()
    write_whole(new / "history.csv", history.to_csv(index=False))
    predictions = None
    if len(ready.split.test):
        predictions = predict(found.scored.model, found.criterion, ready.data.take(ready.split.test).x)
    pictures, facts = (None, {}) if ready.images is None else picture(ready, found, predictions)
    efforts = {key: run[key] for key in ("budget", "trials", "strategy")}
    weak = slices(ready, predictions)
    summary = make_summary(ready, found, rivals, predictions, seed=seed, **efforts, warnings=[*ready.warnings, *_warnings(found), *doubts(weak)])
    summary |= plain(facts | judged(ready, found, predictions, seed, clock) | {"verdicts": verdicts(ready, found, seed)})
    for row, difference in zip(summary["rivals"], rivals_beside(ready, found, predictions, rivals, seed), strict=True):
        row["difference"] = plain(difference)
    summary["groups"] = plain([finding.to_dict() for finding in weak])
    if ready.images is None:
        summary["importance"] = plain(importance(ready, found, seed, clock))
    own = named_again(run["model"], run["backbone"])
    place = shlex.quote(str(folder))
    summary["replay"] = f"temperance replay {place} --trial {found.winner.config.number}{own}"
    summary["predict"] = f"temperance predict {place} {ready.more}{own}"
    summary["use"] = uses(folder, ready, run["model"], run["backbone"])
    timing: dict[str, Any] = {k: round(v, 3) for k, v in found.timing.items()}
    timing.update(
        {
            "rivals": round(sum(r.seconds for r in rivals), 3),
            "report": 0.0,
            "total": round(clock.spent, 3),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
    )
    shown = {**summary, "timing": timing, "created": timing["created"]}
    for row, rival in zip(shown["rivals"], rivals, strict=True):
        row["seconds"] = round(rival.seconds, 2)
    write_whole(new / "report.html", render(shown, history, pictures))
    for row in summary["rivals"]:
        row.pop("seconds", None)
    timing["report"], timing["total"] = round(time.monotonic() - began, 3), round(clock.spent, 3)
    summary["timing"] = timing
    here = ("replay", "predict", "use")  # these name the folder: the file is the same wherever it lies
    stays = {key: value for key, value in summary.items() if key not in here}
    write_whole(new / "summary.json", json.dumps(stays, indent=1, allow_nan=False))
    others = contents(new, [name for name in (*FILES, MODEL[-1]) if name != "run.json"])
    write_whole(new / "run.json", sealed(json.loads(json.dumps(plain(run), default=str)), others, indent=1))
    committed = False
    try:
        with uninterrupted():
            claim.commit(unfinished=found.ended != "done")
            committed = True
    except KeyboardInterrupt:
        if not committed:
            raise
    return summary


def _warnings(found: Search) -> list[str]:
    """What the user must know: how an interrupted fit came by its model."""
    out: list[str] = []
    if found.ended != "done" and found.refit.how != "none":
        rows = "all rows" if found.saw_test else "training and validation rows"
        out.append(f"interrupted: the model was trained again on {rows}, but it is not compared with the same network without the cocktail")
    elif found.ended != "done":
        several = len({config.number for config in found.refit.configs}) > 1
        what = "averages the best states" if several else "is the best state"
        out.append(f"interrupted: the model {what} found until then, not trained again on all rows")
    if found.ended != "done":
        out.append("the finished trials are kept: the same command with --resume goes on with the fit")
    return out


def named_again(model: str | None, backbone: str | None) -> str:
    """Options that every command on a model needs, because it runs no code that they do not name.

    Example:
        >>> named_again(None, "net.py:trunk"), named_again("net.py:build", "timm:resnet18")
        (' --backbone net.py:trunk', ' --model net.py:build')
    """
    own = "" if model is None else f" --model {shlex.quote(model)}"
    return own + ("" if backbone is None or remembered(backbone) is not None else f" {OPTION} {shlex.quote(backbone)}")


def uses(folder: Path, ready: Prepared, model: str | None, backbone: str | None = None) -> list[list[str]]:
    """What to do with the folder beside predicting: a title each, and lines of Python or a command."""
    place, build = repr(str(folder)), "" if model is None else f", build={model!r}"
    kind = "TemperanceRegressor" if ready.target.task == "regression" else "TemperanceClassifier"
    recipe = place if model is None else f"{place}, model=build"
    own, network = named_again(model, backbone), "saved.model"
    if backbone is not None:
        build += "" if remembered(backbone) is not None else f", backbone={backbone!r}"
        recipe += f", backbone={backbone!r}" if backbone.startswith(TIMM) else ", backbone=network"
        network = "saved.model.head"
    return [
        ["Load it in Python, to predict or to serve", f"import temperance as tp\nsaved = tp.load({place}{build})\nprint(saved.predict({ready.more!r}))"],
        ["Serve it without temperance", f"temperance export {shlex.quote(str(folder))} --onnx model.onnx{own}"],
        ["Train its networks again, on new rows X and y", f"import temperance as tp\nmodel = tp.{kind}(recipe={recipe}).fit(X, y)"],
        [
            "Go on training it in a loop of your own",
            f"import temperance as tp\nsaved = tp.load({place}{build})\nnetwork, cocktail = {network}, saved.cocktail  # cocktail.attach(network, ...)",
        ],
    ]
