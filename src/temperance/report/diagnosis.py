"""The page of a diagnosis: what was found, what to do, and the figures behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from temperance.report import calibration, words
from temperance.report.figures import PANEL, Figure
from temperance.report.svg import Canvas, Frame, scale_for, text_width

VERDICTS = ("bad", "look", "fine")
FRAME = Frame(52, 32, PANEL - 8, 206)
HEIGHT = 242
_LONGEST, _LISTED, _ENDS = 26, 20, 8


def render(facts: Mapping[str, Any]) -> str:
    """A diagnosis as a single HTML document that loads nothing from anywhere.

    Args:
        facts: the plain values of :meth:`temperance.diagnose.Diagnosis.to_dict`, and where they are known ``title``, ``data``, ``held_out``
            (where the validation rows are from) and ``temperance``, the version.

    Returns:
        the page; all text is escaped.

    Example:
        >>> "No cause was found" in render({"findings": [], "causes": []})
        True
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_file("diagnosis.html")).render(style=Markup(_file("style.css")), **laid_out(facts))


def _file(name: str) -> str:
    return resources.files("temperance.report").joinpath(name).read_text(encoding="utf-8")


def laid_out(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template needs."""
    findings: list[Mapping[str, Any]] = list(facts.get("findings") or [])
    causes = [said(name) for name in facts.get("causes") or []]
    rows = facts.get("rows") or {}
    held = words.finite(rows.get("validation"))
    deck = f"Examined on {words.count(rows.get('train'), 'training row')}" if words.finite(rows.get("train")) else ""
    deck += f" and {words.count(held, 'validation row')}{facts.get('held_out') or ''}" if deck and held else ""
    order = {name: place for place, name in enumerate(facts.get("causes") or [])}
    ranked = sorted(findings, key=lambda f: (VERDICTS.index(f["verdict"]), order.get(f["name"], len(order))))
    return {
        "title": str(facts.get("title") or "A diagnosis"),
        "version": str(facts.get("temperance") or ""),
        "data": str(facts.get("data") or ""),
        "deck": f"{deck}." if deck else "",
        "causes": causes,
        "groups": [(verdict, [row(f) for f in ranked if f["verdict"] == verdict]) for verdict in VERDICTS],
        "figures": [(title, made) for title, made in figures(findings) if made is not None],
        "skipped": [(said(str(s["check"])), str(s["reason"])) for s in facts.get("skipped") or []],
        "notes": [words.stopped(str(note)) for note in facts.get("notes") or []],
    }


def said(name: str) -> str:
    """A name as words.

    Example:
        >>> said("exploding_gradients_in_time")
        'exploding gradients in time'
    """
    return name.replace("_", " ")


def row(finding: Mapping[str, Any]) -> dict[str, Any]:
    """One finding as the table shows it."""
    numbers = [(said(str(key)), shown(value)) for key, value in finding["value"].items() if not isinstance(value, dict)]
    return {"name": said(str(finding["name"])), "meaning": finding["meaning"], "remedy": finding["remedy"], "numbers": numbers}


def shown(value: Any) -> str:
    """A number, a word, or the first few of a list."""
    if not isinstance(value, list):
        return words.number(value)
    rest = f" and {len(value) - _LISTED} more" if len(value) > _LISTED else ""
    return ", ".join(words.number(item) for item in value[:_LISTED]) + rest if value else "none"


def figures(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, Figure | None]]:
    """The figures, each with its heading."""
    by_check = {str(f["check"]): f for f in reversed(findings)}
    depth = next((f for f in findings if f["check"] == "gradients" and f["data"].get("layers")), None)
    times = [f for f in findings if f["check"] == "gradients" and f["data"].get("steps")]
    return [
        ("How the loss bends", _curvature(by_check["curvature"]) if "curvature" in by_check else None),
        ("Gradients on their way back", _gradients(depth, times)),
        ("A few steps of plain gradient descent", _steps(by_check["oscillation"]) if "oscillation" in by_check else None),
        ("Confidence and accuracy", _reliability(by_check["calibration"]) if "calibration" in by_check else None),
    ]


def _panel(
    label: str,
    points: Sequence[Sequence[tuple[float, float]]],
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    y_ends: tuple[float, ...] = (),
) -> Markup:
    """Curves in one frame, a colour each."""
    canvas = Canvas(PANEL, HEIGHT, label)
    known = [(x, y) for line in points for x, y in line if (x > 0 or not log_x) and (y > 0 or not log_y)]
    x = scale_for([p[0] for p in known], FRAME.left, FRAME.right, log=log_x, margin=0.02)
    y = scale_for([*(p[1] for p in known), *y_ends], FRAME.bottom, FRAME.top, log=log_y)
    FRAME.grid(canvas, x, y, x_title, y_title)
    for k, line in enumerate(points):
        drawn = [(x(a), y(b)) for a, b in line if (a, b) in known]
        canvas.polyline(drawn, f"curve series-{k % 5 + 1}")
        if len(drawn) < 30:
            for a, b in drawn:
                canvas.dot(a, b, 3, "estimate ours" if k == 0 else "estimate")
    return canvas.svg()


def ending(name: str) -> str:
    """The end of a module's name, which tells it from its neighbors.

    Example:
        >>> ending("networks.0.body.hidden.0.linear")
        '…0.body.hidden.0.linear'
    """
    return name if len(name) <= _LONGEST else "…" + name[-_LONGEST:].partition(".")[2]


def _curvature(finding: Mapping[str, Any]) -> Figure | None:
    data, value = finding["data"], finding["value"]
    if not data.get("grid"):
        return None
    peak = max(data["density"])
    shown = [(a, max(b, 1e-5 * peak)) for a, b in zip(data["grid"], data["density"], strict=True)]
    density = _panel("spectral density of the Hessian", [shown], "eigenvalue of the Hessian", "density, log scale", log_y=True)
    pairs = list(zip(data["lam"], data["effective_parameters"], strict=True))
    effective = _panel("effective parameters", [pairs], "strength of L2, log scale", "parameters that the data decides", log_x=True)
    caption = (
        f"n = {words.count(value['parameters'], 'parameter')}. Eigenvalues from {words.number(value['smallest'])} to {words.number(value['largest'])}, each "
        "widened to a bell of a fortieth of the range."
    )
    return Figure([density, effective], caption)


def _gradients(depth: Mapping[str, Any] | None, times: Sequence[Mapping[str, Any]]) -> Figure | None:
    panels: list[Markup] = []
    caption: list[str] = []
    if depth is not None:
        panels.append(_bars(depth["data"]["layers"]))
        layers = depth["data"]["layers"]
        part = f", of which the first and the last {_ENDS} are shown" if len(layers) > 2 * _ENDS else ""
        caption.append(f"n = {words.count(len(layers), 'layer')}{part}, in the order of the pass, each with the gradient that reaches its output.")
    for finding in times:
        steps = finding["data"]["steps"]
        module = ending(str(finding["value"]["module"]))
        points = [(float(k + 1), float(s)) for k, s in enumerate(steps)]
        panels.append(_panel(f"gradient by step of {module}", [points], f"step of {module}", "gradient, log scale", log_y=True))
        caption.append(f"{module}: n = {words.count(len(steps), 'step')}.")
    return Figure(panels, " ".join(caption)) if panels else None


def _bars(layers: Sequence[Mapping[str, Any]]) -> Markup:
    """One bar a layer, by logarithm."""
    shown = layers if len(layers) <= 2 * _ENDS else [*layers[:_ENDS], *layers[-_ENDS:]]
    left = min(max(text_width(ending(str(r["layer"])), 12) for r in shown) + 14, 180)
    step = 20
    bottom = 10.0 + step * len(shown)
    canvas = Canvas(PANEL, bottom + 38, "gradient by layer")
    x = scale_for([float(r["signal"]) for r in shown], left, PANEL - 8, log=True, margin=0.3)
    for value in x.ticks(4):
        canvas.line(x(value), 4, x(value), bottom, "rule")
        canvas.text(x(value), bottom + 16, words.number(value), "tick", "middle")
    canvas.line(left, 4, left, bottom, "axis")
    canvas.text(PANEL - 8, bottom + 33, "gradient at the output, log scale", "title", "end")
    for k, layer in enumerate(shown):
        y = 8 + k * step
        canvas.text(left - 7, y + 11, ending(str(layer["layer"])), "tick", "end")
        if layer["signal"] > 0:
            canvas.rect(left, y, x(layer["signal"]) - left, step - 7, "bar")
    return canvas.svg()


def _steps(finding: Mapping[str, Any]) -> Figure | None:
    known = [words.finite(v) for v in finding["data"].get("loss") or []]
    losses = [(float(k), v) for k, v in enumerate(known) if v is not None]
    cosines = [(float(k + 1), v) for k, v in enumerate(map(words.finite, finding["data"].get("cosine") or [])) if v is not None]
    if len(losses) < 2 or not cosines:
        return None
    panels = [
        _panel("loss by step", [losses], "step", "loss, all rows"),
        _panel("cosine of gradients", [cosines], "step", "cosine of a gradient and the one before", y_ends=(-1.0, 1.0)),
    ]
    return Figure(panels, f"n = {words.count(len(losses) - 1, 'step')} at a learning rate of {words.number(finding['value']['lr'])}.")


def _reliability(finding: Mapping[str, Any]) -> Figure | None:
    value, data = finding["value"], finding["data"]
    tempered = {"temperature": value["temperature"], "ece": value["ece_after"], "bins": data.get("tempered")}
    section = calibration.section({"n": value["rows"], "ece": value["ece"], "bins": data.get("bins"), "tempered": tempered})
    if section is None:
        return None
    caption = f"n = {words.count(value['rows'], 'row')}; bins without rows are left out. Below the diagonal the network is too sure."
    made: Figure = section["figure"]
    return dataclasses.replace(made, caption=caption, legend=[(css, "with 95 % interval" if css == "series-1" else label) for css, label in made.legend])
