"""Inputs of very different sizes, which make every loss ill-conditioned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from temperance.core.selector import NORMS
from temperance.diagnose.finding import Finding, Skip, graded, weight_of
from temperance.diagnose.subject import Subject

SPREAD, SHIFT = (10.0, 100.0), (3.0, 30.0)
WIDEST = 512
"""Features up to which the condition number of the inputs is found."""


def conditioning(subject: Subject) -> list[Finding]:
    """Looks whether the inputs are standardized, and how much that would help.

    Formula: the largest standard deviation of a feature over the smallest, the largest |mean| over its standard deviation, and the condition number κ of
    the second moments of (1, x), which is that of the Hessian of a linear model with squared loss, as the inputs are and standardized.

    What: floating inputs; images by channel. Constant features and ones with two values count in no ratio, and where the network normalizes its inputs
    first the verdict is fine.

    When: training is slow although the learning rate cannot be raised.

    Reference: LeCun, Bottou, Orr & Müller (1998), Efficient BackProp.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> x = torch.randn(50, 2) * torch.tensor([1.0, 1000.0])
        >>> tp.diagnose(torch.nn.Linear(2, 1), (x, torch.randn(50)), checks="conditioning").causes
        ('inputs_not_standardized',)
    """
    x = subject.train.x
    leaves = {name: leaf for name, leaf in (x.items() if isinstance(x, dict) else [("x", x)]) if leaf.is_floating_point() and leaf.numel()}
    if not leaves:
        raise Skip("the inputs hold no numbers")
    columns = torch.cat([_columns(leaf) for leaf in leaves.values()], 1) if len({len(_columns(leaf)) for leaf in leaves.values()}) == 1 else None
    if columns is None:
        raise Skip("the inputs have different shapes")
    mean, sd = columns.mean(0), columns.std(0, unbiased=False)
    varied = torch.tensor([len(torch.unique(column)) > 2 for column in columns.T]) & (sd > 1e-12 * columns.abs().amax(0))
    value: dict[str, Any] = {"features": columns.shape[1], "measured": int(varied.sum())}
    if not bool(varied.any()):
        return [Finding("conditioning", "conditioning", value, "No input varies by more than two values, so there is nothing to standardize.")]
    spread, shift = float(sd[varied].max() / sd[varied].min()), float((mean[varied].abs() / sd[varied]).max())
    value |= {"spread": spread, "shift": shift}
    text = f"The standard deviations of the inputs differ by a factor of {spread:.3g}, and a mean lies up to {shift:.2f} of them from zero"
    if columns.shape[1] <= WIDEST:
        raw = condition_number(columns)
        scaled = condition_number(torch.where(sd > 0, (columns - mean) / torch.where(sd > 0, sd, 1.0), 0.0))
        value |= {"condition": raw, "condition_standardized": scaled}
        text += f"; their condition number is {raw:.3g}, standardized it would be {scaled:.3g}"
    first = next((m for m in subject.model.modules() if any(True for _ in m.parameters(recurse=False))), None)
    if isinstance(first, NORMS):
        return [Finding("conditioning", "conditioning", value, f"{text}; the network normalizes them first.")]
    amount = max(spread / SPREAD[1], shift / SHIFT[1])
    verdict = graded(amount, SPREAD[0] / SPREAD[1], 1.0)
    if verdict == "fine":
        return [Finding("conditioning", "conditioning", value, f"{text}.")]
    remedy = "Standardize the inputs (tp.data.table_dataset does), or put a norm first; Adam and Adadelta suffer less than SGD."
    return [Finding("conditioning", "inputs_not_standardized", value, f"{text}.", verdict, remedy, weight_of(math.log10(amount) + 1, 1.0))]


def condition_number(columns: Tensor) -> float:
    """Largest over smallest eigenvalue of the second moments of (1, x), without directions that rounding leaves at zero.

    Example:
        >>> condition_number(torch.tensor([[1.0], [-1.0], [3.0], [-3.0]]))
        5.0
    """
    whole = torch.cat([torch.ones(len(columns), 1, dtype=torch.float64), columns.double()], 1)
    values = torch.linalg.eigvalsh(whole.T @ whole / len(whole))
    seen = values[values > 1e-12 * values[-1]]
    return float(seen[-1] / seen[0])


def _columns(leaf: Tensor) -> Tensor:
    """Features as columns: channels of images, steps of time one below another."""
    leaf = leaf.double().cpu()
    if leaf.dim() == 1:
        return leaf.unsqueeze(1)
    return leaf.movedim(1, -1).flatten(0, -2) if leaf.dim() >= 4 else leaf.flatten(0, -2)
