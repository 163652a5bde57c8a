"""A problem on which inputs, hidden units and targets must move together: a linear network that is exact stays exact."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, full_batch, leaves_of
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, Heads, SquaredError
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.random import key_of
from temperance.core.regularizer import Context, Regularizer
from temperance.core.wiring import observed

ROWS, OUTPUTS = 8, 3
SHAPES: dict[str, Any] = {"numbers": (5,), "images": (2, 4, 5), "dict": {"first": (4,), "second": (2,)}}


class Exact(nn.Module):
    """The mean of all inputs of a row, through two layers whose ReLUs are open: for rows of one number it is that number, and so is any mixture's."""

    def __init__(self, entries: int, heads: bool) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second, self.out = nn.Linear(entries, 4, False), nn.Linear(4, 4, False), nn.Linear(4, OUTPUTS, False)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
        self.double()
        for layer in (self.first, self.second, self.out):
            nn.init.constant_(layer.weight, 1.0 / layer.in_features)

    def forward(self, x: Any) -> Any:
        flat = torch.cat([leaf.flatten(1) for leaf in leaves_of(x)], 1)
        out = self.out(self.act2(self.second(self.act1(self.first(flat)))))
        return {"one": out, "other": out[:, :1]} if self.heads else out


def problem(shape: str) -> tuple[nn.Module, Criterion, Batch]:
    """Rows each of a positive number of its own, which is also their target and their weight."""
    t = torch.linspace(0.5, 4.0, ROWS, dtype=torch.float64) ** 2
    sizes, heads = SHAPES[shape], isinstance(SHAPES[shape], dict)

    def rows(*size: int) -> Tensor:
        return t.reshape(-1, *[1] * len(size)).repeat(1, *size)

    x = {name: rows(*size) for name, size in sizes.items()} if heads else rows(*sizes)
    y = {"one": rows(OUTPUTS), "other": rows(1)} if heads else rows(OUTPUTS)
    entries = sum(leaf[0].numel() for leaf in leaves_of(x))
    criterion = Heads((("one", SquaredError(), 1.0), ("other", SquaredError(), 1.0))) if heads else SquaredError()
    return Exact(entries, heads), criterion, full_batch(x, y, weight=t.clone())


def step(regularizer: Regularizer, shape: str, seed: int) -> tuple[Batch, Batch, Tensor, bool]:
    """Rows before and after the ``batch`` site, the data loss, and whether hidden units moved."""
    model, criterion, batch = problem(shape)
    cocktail = Cocktail(regularizer)
    program = Program(cocktail, model, criterion, wiring=observed(model, batch.x))
    values = {name: torch.tensor(v, dtype=torch.float64) for name, v in cocktail.strengths().items()}
    moment = Moment(step_key(key_of(seed), 0), torch.tensor(0), torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64))
    params = dict(model.named_parameters())
    bound = program.bind(values, moment.progress)
    state = program.init(params)

    def context(label: str, site: str, *path: object) -> Context:
        return program.context(label, site, moment, state, None, *path)

    after = program.change_batch(bound, batch, context)
    with torch.no_grad():
        out, _, _ = program.forward(params, {}, after.x, "train", bound, context)
        plain = model(after.x)
        moved = any(not torch.equal(a, b) for a, b in zip(leaves_of(out), leaves_of(plain), strict=True))
        return batch, after, criterion(out, after), moved


def moves(before: Any, after: Any) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(leaves_of(before), leaves_of(after), strict=True))


def moves_both(regularizer: Regularizer, shape: str) -> bool:
    """Whether it changes targets, and inputs or hidden units with them; what changes targets alone, such as noise on labels, owes the inputs nothing."""
    if "batch" not in regularizer.sites() or "regression" not in regularizer.tasks:
        return False
    steps = [step(regularizer, shape, seed) for seed in range(4)]
    return any(moves(b.y, a.y) for b, a, _, _ in steps) and any(moves(b.x, a.x) or hidden for b, a, _, hidden in steps)


def check_together(regularizer: Regularizer, shape: str, seeds: int = 8) -> None:
    """An exact linear network stays exact on what is made of its rows, and weights of rows are mixed as their targets are.

    Exact up to rounding: numbers up to 16 in double precision, through sums of at most 40 terms, are off by less than 1e-12, their squares by 1e-24.
    """
    moved = False
    for seed in range(seeds):
        before, after, loss, _ = step(regularizer, shape, seed)
        moved = moved or moves(before.y, after.y)
        assert float(loss) < 1e-24, f"inputs and targets of {regularizer!r} part: the loss of an exact linear network is {float(loss):g}"
        y = leaves_of(after.y)[0]
        torch.testing.assert_close(
            y, after.weight.unsqueeze(1).expand_as(y), rtol=1e-9, atol=1e-9, msg=f"{regularizer!r} moves targets, but not weights of rows"
        )
    assert moved
