"""A small task beside a large one: help where they look for the same, harm where they do not."""

import math
from collections.abc import Sequence
from functools import cache

import torch

import temperance as tp
from temperance.lab import LEGENSTEIN, PATHAK, WHITEHILL_22, Chart, Experiment, Line, Slider, on_average

INPUTS, FEW, MANY = 20, 20, 500
ANGLES = (0.0, 15.0, 30.0, 60.0, 90.0)
SQUARED = tp.losses.SquaredError()


def rows(seed: int, angle: float, second: bool) -> tuple[tp.data.Dataset, torch.Tensor, torch.Tensor]:
    """Training rows of both tasks, and new inputs with what the small task is there.

    The small task follows one direction of the inputs, the large one a direction at this angle to it.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2 * MANY, INPUTS, generator=generator)
    pair, turn = torch.linalg.qr(torch.randn(INPUTS, 2, generator=generator))[0], math.radians(angle)
    small, large = (torch.tanh(1.5 * x @ pair @ torch.tensor(way))[:, None] for way in ([1.0, 0.0], [math.cos(turn), math.sin(turn)]))
    targets = {name: y[:MANY] + 0.3 * torch.randn(MANY, 1, generator=generator) for name, y in (("small", small), ("large", large))}
    known = {"small": torch.arange(MANY) < FEW, "large": torch.full((MANY,), second)}
    return tp.data.Dataset(x[:MANY], targets, dict.fromkeys(targets, "regression"), labeled=known), x[MANY:], small[MANY:]


def joined(parts: Sequence[tp.data.Dataset]) -> tp.data.Dataset:
    """The rows of all parts, one after another."""
    first = parts[0]
    x = torch.cat([part.x for part in parts])  # type: ignore[misc]
    y, known = ({name: torch.cat([getattr(part, field)[name] for part in parts]) for name in ("small", "large")} for field in ("y", "labeled"))
    return tp.data.Dataset(x, y, first.task, labeled=known)


@cache
def found(seed: int) -> list[float]:
    """Error on new rows, as a share of the variance: alone, then beside a second task at each angle; all train as one population."""
    pairs = [rows(seed, 0.0, second=False), *(rows(seed, angle, second=True) for angle in ANGLES)]
    net = tp.nets.TwoHeads(INPUTS, {"small": 1, "large": 1}, hidden=(1,), activation="tanh")
    tp.nets.initialize(net, seed)
    members = [tp.Member(tp.Cocktail(tp.L2(0.1)), tp.optim.Adam(0.02), seed, rows=torch.arange(MANY) + k * MANY) for k in range(len(pairs))]
    loss = tp.losses.Heads((("small", SQUARED, 1.0), ("large", SQUARED, 1.0)))
    data = joined([part for part, _, _ in pairs])
    done = tp.fit(net, members, data, validation=None, early_stopping=None, steps=300, batch_size=MANY, criterion=loss, check_every=300)
    with torch.no_grad():
        guesses = [done.member(k)(x)["small"] for k, (_, x, _) in enumerate(pairs)]
    return [float((guess - truth).square().mean() / truth.square().mean()) for guess, (_, _, truth) in zip(guesses, pairs, strict=True)]


class MultiTask(Experiment):
    topic = "Data"
    question = "Does a second task help the first?"
    claim = (
        "With one hidden unit for both, a task with 20 rows gains from one with 500 if both follow the same direction of "
        "the inputs, and loses if the directions are at right angles."
    )
    source = f"{PATHAK}, multi-task learning; {LEGENSTEIN}, multi-task learning; {WHITEHILL_22}, multi-task learning"
    expect = "Twenty rows of twenty inputs hardly say where to look. Another task with 500 rows says it, if it looks there too. At what angle is it bad advice?"
    rules = (on_average("error saved, same direction", ">", 0.0), on_average("error added, at right angles", ">", 0.0))
    control = "The second task without its labels."
    quick_seeds = 5
    next = "Give both tasks ten hidden units: there is room for both directions, and the harm is gone. Or let the second task count less in `tp.losses.Heads`."
    limits = "It helps where lower layers have a use for both tasks, and where the small task is short of rows; with hundreds of its own it needs no other."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        alone, *beside = found(seed)
        same, square = (alone, alone) if control else (beside[0], beside[-1])
        return {"error saved, same direction": alone - same, "error added, at right angles": square - alone, "error alone": alone}

    def draw(self) -> Slider:
        alone, *beside = found(0)
        charts = []
        for angle, error in zip(ANGLES, beside, strict=True):
            lines = [
                Line("beside 500 rows of a second task", ANGLES, beside),
                Line("20 rows alone", ANGLES, [alone] * len(ANGLES)),
                Line("at this angle", [angle], [error], "dots"),
            ]
            note = f"At {angle:g}° the error is {error:.2f} of the variance; alone {alone:.2f}."
            charts.append(Chart("angle between the directions (degrees)", "error on new rows, as a share of the variance", lines, note=note, low=0))
        return Slider("angle", "angle", ANGLES, charts, start=0)
