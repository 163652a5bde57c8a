"""The robustness of a fitted model: its encoded rows in the units in which they are attacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.data import Dataset, TableEncoder, TargetEncoder
from temperance.diagnose.robustness import robustness

NUMBERS = "num"
"""The part of an encoded table that holds its numbers."""
RANGE = (0.0, 1.0)


class Raw(nn.Module):
    """A network for standardized images as one for images in [0, 1], so that they can be attacked in their own units."""

    mean: Tensor
    sd: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], sd: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.sd)


def table_scale(encoder: TableEncoder, x: Any) -> dict[str, Tensor]:
    """The unit of each entry of an encoded table: one, and zero for marks of missing numbers and for the numbers that they mark.

    Example:
        >>> encoder = TableEncoder().fit({"age": [20.0, 30.0, 40.0, None], "height": [1.0, 2.0, 3.0, 4.0]})
        >>> table_scale(encoder, encoder.transform({"age": [30.0, None], "height": [1.0, 2.0]}))["num"]
        tensor([[1., 1., 0.],
                [0., 1., 0.]])
    """
    numbers, width = x[NUMBERS], len(encoder.numeric)
    unit = torch.ones_like(numbers)
    unit[:, width:] = 0.0
    for k, column in enumerate(i for i, c in enumerate(encoder.numeric) if c.indicator):
        unit[:, column] = 1.0 - numbers[:, width + k]
    return {key: unit if key == NUMBERS else torch.ones(()) for key in x}


def model_robustness(
    module: nn.Module, encoder: Any, target: TargetEncoder, data: Dataset, *, rows: int = 1000, seed: int = 0, **settings: Any
) -> dict[str, Any]:
    """Attack a fitted model on rows with known answers.

    Numbers of a table move in standard deviations of the fitted rows; a missing number and its mark do not move, as no small change makes a value
    missing. Images move in units of their range, [0, 1], and stay in it. What another encoder makes moves in its standard deviations over
    these rows. The error of a single value is in the value's own unit.

    Args:
        module: a plain network.
        encoder: that made the rows.
        target: that made their targets.
        data: the rows, as ``encoder`` and ``target`` make them; those without a target are left out.
        rows: attack at most so many, drawn by the seed.
        seed: of everything random.
        settings: further ones of :func:`temperance.diagnose.robustness.robustness`: ``eps``, ``norm``, ``steps``, ``restarts``, ``attacks``.

    Returns:
        plain values for JSON: those of ``Robustness.to_dict``, with ``of``, the rows that they were drawn from, ``moves``, name and standard
        deviation of the numbers of a table, and ``stays``, what of a table does not move.

    Raises:
        ConfigError: a setting that cannot be.
        DataError: no row with a target, or nothing that could move.
    """
    for name, value, low in (("rows", rows, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ConfigError(expected(name, "robust", f"to be a whole number in [{low}, inf)", value))
    if isinstance(data.labeled, Tensor):
        data = data.take(torch.nonzero(data.labeled).squeeze(1))
    if not len(data):
        raise DataError("Expected rows with a target, got none. Without the right answer nothing can be scored.")
    drawn = Rng(key_of(seed), stream_of("robust", "rows")).permutation(len(data))[:rows].sort().values
    part, moves, stays = data.take(drawn), list[dict[str, Any]](), list[str]()
    if isinstance(encoder, TableEncoder):
        settings["scale"] = table_scale(encoder, part.x)
        moves = [{"name": column.name, "sd": column.scale} for column in encoder.numeric if not column.date]
        missing = bool((settings["scale"][NUMBERS][:, : len(encoder.numeric)] == 0).any())
        stays = [*(["categories"] if encoder.categorical else []), *(["missing numbers"] if missing else [])]
    elif isinstance(part.x, Tensor) and part.x.dim() == 4 and hasattr(encoder, "mean") and hasattr(encoder, "sd"):
        module = Raw(module, encoder.mean, encoder.sd)
        pixels = (part.x * module.sd + module.mean).clamp(*RANGE)
        part, settings["bounds"] = Dataset(pixels, part.y, part.task), RANGE
    if target.task == "regression" and target.outputs == 1:
        settings["y_scale"] = target.sd[0]
    found = robustness(module, part, seed=seed, **settings)
    return {**found.to_dict(), "of": len(data), "moves": moves, "stays": stays}
