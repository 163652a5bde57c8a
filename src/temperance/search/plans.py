"""Static plans: which networks, cocktails, batch sizes and lengths of training a search starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.core.program import Program
from temperance.core.regularizer import Regularizer
from temperance.core.schedule import FlatCosine
from temperance.data.dataset import Dataset
from temperance.nets import TabularNet, build_seeded, quantile_edges
from temperance.regularizers import EMA, CutMix, Dropout, InputNoise, LabelSmoothing, MixUp, WeightDecay
from temperance.search.space import StaticPlan, chosen_regularizers, one_average
from temperance.train.optimizers import AdamW

LIKELY = {"weight_decay.lam": 0.1, "dropout.rate": 0.1}
MOST_ENCODED = 64


def default_regularizers(task: str) -> list[Regularizer]:
    """What every search tries without being asked: cheap ones that need no extra pass."""
    targets: list[Regularizer] = [LabelSmoothing()] if task in ("classification", "multilabel") else []
    return [*targets, MixUp(), CutMix(), InputNoise(), Dropout(), WeightDecay(), EMA()]


def default_batch_size(n: int) -> int:
    """Rows a step: 64 below 2,000 rows, else 256.

    Example:
        >>> [default_batch_size(n) for n in (500, 5000)]
        [64, 256]
    """
    return 64 if n < 2000 else 256


def default_epochs(n: int, batch_size: int) -> float:
    """Passes of a full run: about 2,000 steps, at least 8 and at most 60 passes.

    Example:
        >>> default_epochs(500, 64), default_epochs(32_000, 256)
        (60.0, 16.0)
    """
    return float(min(60, max(8, round(2000 * batch_size / n))))


def _fitting(wanted: list[Regularizer], model: nn.Module, data: Dataset, asked: Sequence[str | Regularizer]) -> Cocktail:
    """Those that the network and the task can take; what was asked for by name must be one of them."""
    names = {item if isinstance(item, str) else type(item).__name__ for item in asked}
    kept: list[Regularizer] = []
    for regularizer in wanted:
        try:
            Program(Cocktail(regularizer), model, criterion_for(data.task)).close()
        except ConfigError:
            if type(regularizer).__name__ in names or any(name.replace("_", "").lower() == type(regularizer).__name__.lower() for name in names):
                raise
            continue
        kept.append(regularizer)
    whole = Cocktail(*kept)
    Program(whole.with_strengths(one_average(whole, whole.strengths())), model, criterion_for(data.task)).close()
    return whole


def network_plans(
    build: Callable[[Dataset], nn.Module],
    data: Dataset,
    *,
    use: Sequence[str | Regularizer] = (),
    without: Sequence[str] = (),
    batch_size: int | None = None,
    epochs: float | None = None,
    lr: tuple[float, float] = (3e-4, 3e-2),
) -> list[StaticPlan]:
    """One plan for anyone's own network."""

    def made(seed: int) -> nn.Module:
        network = build_seeded(lambda: build(data), seed)
        if not isinstance(network, nn.Module):
            raise ConfigError(f"Expected `build` to return an nn.Module, got {type(network).__name__}.")
        return network

    network = made(0)
    task = data.task if isinstance(data.task, str) else ""
    cocktail = _fitting(chosen_regularizers(default_regularizers(task), use, without), network, data, use)
    size = batch_size or default_batch_size(len(data))
    length = epochs or default_epochs(len(data), size)
    likely = {k: v for k, v in LIKELY.items() if k in cocktail.specs()}
    return [StaticPlan("network", made, cocktail, AdamW(FlatCosine(1e-3, flat=0.5, warmup=0.02)), lr, size, length, type(network).__name__, likely)]


def _bins(n: int) -> int:
    """Bins a column: more rows can fill more of them, and many rows make each costlier."""
    return 16 if n < 2000 else 64 if n < 30_000 else 48


def tabular_plans(data: Dataset, train_rows: Sequence[int], *, use: Sequence[str | Regularizer] = (), without: Sequence[str] = ()) -> list[StaticPlan]:
    """Plans for tables: an MLP on piecewise-linear, on periodic and on plain numbers; with BatchNorm too where rows are few.

    Which encoding of the numbers suits a table cannot be told beforehand, and it matters more than any strength: so it is the first thing the
    search decides.

    Args:
        data: all rows, with ``num`` and ``cat``.
        train_rows: rows that bin edges may be learned from.
        use: regularizers to search over beside the default ones.
        without: names to leave out.
    """
    assert isinstance(data.x, dict)
    numbers, cards, outputs = int(data.x["num"].shape[1]), data.cardinalities, data.out_features
    n = len(train_rows)
    size = default_batch_size(n)
    shapes: list[tuple[str, float, dict[str, Any]]] = []
    if 0 < numbers <= MOST_ENCODED:
        edges = quantile_edges(data.x["num"][list(train_rows)], _bins(n))
        shapes.append(("piecewise", 0.004, {"hidden": [128, 128], "numbers": "piecewise", "edges": edges}))
        shapes.append(("periodic", 0.012, {"hidden": [128, 128], "numbers": "periodic", "sigma": 0.5}))
    shapes.append(("plain", 0.007, {"hidden": [128, 128], "activation": "silu"}))
    if n < 3000 or not numbers:
        shapes.append(("batchnorm", 0.004, {"hidden": [128, 128], "norm": "batch"}))
    plans: list[StaticPlan] = []
    wanted = chosen_regularizers(default_regularizers(str(data.task)), use, without)
    for name, rate, settings in shapes:

        def made(seed: int, settings: dict[str, Any] = settings) -> nn.Module:
            return build_seeded(lambda: TabularNet(numbers, cards, outputs, **settings), seed)

        cocktail = _fitting(wanted, made(0), data, use)
        likely = {k: v for k, v in LIKELY.items() if k in cocktail.specs()}
        words = f"MLP {'-'.join(map(str, settings['hidden']))}, {settings.get('numbers', 'plain')} numbers" + (", BatchNorm" if settings.get("norm") else "")
        spec = {"network": "TabularNet", "arguments": {"num_features": numbers, "cardinalities": list(cards), "out_features": outputs, **settings}}
        plans.append(
            StaticPlan(
                name,
                made,
                cocktail,
                AdamW(FlatCosine(rate, flat=0.5)),
                (2e-3, 2e-2),
                size,
                default_epochs(n, size),
                words,
                likely,
                (0.25, 0.5, 1.0) if n < 10_000 else (1.0,),
                spec,
            )
        )
    return plans
