"""Curves over a strength and over the number of rows, each trained as one population."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from temperance.core.ambient import plainly
from temperance.core.batch import leaves_of, shortest_side
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError, expected
from temperance.core.random import Rng, key_of, stream_of
from temperance.core.shown import as_figure
from temperance.core.strength import StrengthSpec
from temperance.data.dataset import Dataset
from temperance.nets.init import initialize, unreached
from temperance.train.fitting import Fit, fit, hold_out, to_dataset
from temperance.train.member import Member
from temperance.train.optimizers import AdamW, Optimizer


class Curve(pd.DataFrame):
    """A table of scores over seeds that can be drawn; what it was measured on stands in ``attrs``."""

    @property
    def _constructor(self) -> type[Curve]:
        return Curve

    def plot(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] -- this table has one picture, which is not one of pandas'
        """The curve, with 95 % intervals of the means over seeds.

        Returns:
            a figure: a notebook shows it, and ``.save("curve.html")`` writes it as a page that needs no network.

        Raises:
            ConfigError: columns that are drawn are no longer there.
        """
        return as_figure(self, "score_curves", "figure")


@plainly
def validation_curve(
    model: nn.Module,
    cocktail: Cocktail,
    data: Any,
    strength: str,
    *,
    values: Sequence[float] | None = None,
    points: int = 9,
    seeds: int = 3,
    validation: Any = 0.2,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    **settings: Any,
) -> Curve:
    """Scores on training and validation rows against one strength, everything else equal: where it under-fits and where it over-fits.

    Every value is trained with every seed, all of them as one population; each network is judged at its last step, so that no early stopping
    hides over-fitting. The first row is the strength's off value, the control.

    Args:
        model: the network; each seed draws its own weights (networks with parameters that no rule knows start from their own).
        cocktail: holds the strength.
        data: a Dataset or a pair (X, y).
        strength: ``label.field``, such as ``"l2.lam"``.
        values: the values; by default ``points`` of them over the range that the strength declares, on its scale.
        points: how many values.
        seeds: networks a value.
        validation: a share of the rows, a Dataset or a pair (X, y).
        optimizer: default ``AdamW(1e-3)``.
        seed: the first seed.
        settings: ``epochs``, ``steps``, ``batch_size``, ``metric``, ``criterion``, ``memory`` of :func:`temperance.fit`.

    Returns:
        a frame with one row a value: ``value``, ``n`` (seeds that ended with finite weights), and mean and standard deviation over seeds of ``train_loss``,
        ``train_score``, ``validation_loss`` and ``validation_score`` (``..._sd``). Its ``plot()`` draws them, ``plot().save("curve.html")`` keeps the drawing.

    Raises:
        ConfigError: no such strength, or settings that cannot work.

    Source: Goodfellow et al. (2016), Deep learning, figure 5.3.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> X, y = torch.randn(40, 4).numpy(), torch.arange(40).numpy() % 2
        >>> curve = tp.validation_curve(tp.nets.MLP(4, 2, hidden=(8,)), tp.Cocktail(tp.L2()), (X, y), "l2.lam", points=2, seeds=2, epochs=2)
        >>> curve["value"].tolist(), curve["n"].tolist()
        ([0.0, 1e-07, 0.1], [2, 2, 2])
    """
    specs = cocktail.specs()
    if strength not in specs:
        raise ConfigError(expected("strength", "validation_curve", f"to be one of {', '.join(specs) or 'none'}", strength))
    _positive("points", "validation_curve", points)
    _positive("seeds", "validation_curve", seeds)
    spec = specs[strength].at(shortest_side(to_dataset(data).x))
    wanted = [float(v) for v in (_spread(spec, points) if values is None else values)]
    levels = list(dict.fromkeys([spec.off, *wanted]))
    starts = _starts(model, range(seed, seed + seeds))
    base = optimizer or AdamW(1e-3)
    members = [
        Member(cocktail.with_strengths({strength: value}), base, seed + i, initial=starts[i], name=f"{strength}={value:g}, seed {seed + i}")
        for value in levels
        for i in range(seeds)
    ]
    done = fit(model, members, data, validation=validation, early_stopping=None, seed=seed, **settings)
    table = Curve([{"value": value, **_scores(done, range(k * seeds, (k + 1) * seeds))} for k, value in enumerate(levels)])
    table.attrs = {"x": "value", "strength": strength, "meaning": spec.meaning, "log": spec.log, "off": spec.off, **_facts(done)}
    return table


@plainly
def learning_curve(
    model: nn.Module,
    cocktail: Cocktail,
    data: Any,
    *,
    sizes: Sequence[int] | None = None,
    seeds: int = 3,
    validation: Any = 0.2,
    rivals: Mapping[str, Any] | None = None,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    **settings: Any,
) -> Curve:
    """Scores against the number of training rows, for the network and for rivals on the very same rows: what more data would bring.

    The rows of a smaller size are among those of a larger one of the same seed. The seeds of a size train as one population, every size for the
    same number of steps, in batches as large as its rows allow; each network is judged in its best state on the validation rows.

    Args:
        model: the network; each seed draws its own weights (networks with parameters that no rule knows start from their own).
        cocktail: its regularizers.
        data: a Dataset or a pair (X, y), with one target.
        sizes: numbers of rows, by default five from a sixteenth to all, doubling.
        seeds: networks and subsets a size.
        validation: a share of the rows, a Dataset or a pair (X, y).
        rivals: scikit-learn estimators by name, such as ``{"SVM": SVC(C=1.0, gamma=0.01)}``; they are cloned, and see inputs flattened to columns.
        optimizer: default ``AdamW(1e-3)``.
        seed: the first seed.
        settings: ``epochs``, ``steps``, ``batch_size``, ``metric``, ``criterion``, ``memory`` of :func:`temperance.fit`; epochs are of all rows.

    Returns:
        a frame with one row a size and model: ``rows``, ``model`` (``"network"`` or a rival's name), ``n`` seeds, mean and standard deviation of
        ``validation_score`` (``..._sd``); its ``plot()`` draws them. A rival is scored by its own labels or values under the same metric.

    Raises:
        ConfigError: sizes that the data cannot give, or rivals for a target they cannot learn.

    Source: Nielsen (2015), Neural networks and deep learning, chapter 3.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> X, y = torch.randn(60, 4).numpy(), torch.arange(60).numpy() % 2
        >>> curve = tp.learning_curve(tp.nets.MLP(4, 2, hidden=(8,)), tp.Cocktail(), (X, y), sizes=[12, 24], seeds=2, epochs=2)
        >>> curve[["rows", "model", "n"]].values.tolist()
        [[12, 'network', 2], [24, 'network', 2]]
    """
    _positive("seeds", "learning_curve", seeds)
    whole = to_dataset(data)
    if isinstance(validation, float):
        train, held = hold_out(whole, validation, seed)
    else:
        train, held = whole, to_dataset(validation, whole.task if isinstance(whole.task, str) else None, whole.classes)
    n = len(train)
    if sizes is None:
        sizes = sorted({max(2, n >> k) for k in range(5)})
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= n:
            raise ConfigError(expected("sizes", "learning_curve", f"to be whole numbers in [2, {n}], the training rows", size))
    if rivals is not None and not (
        isinstance(rivals, Mapping) and all(hasattr(rival, "get_params") and not isinstance(rival, type) for rival in rivals.values())
    ):
        raise ConfigError(expected("rivals", "learning_curve", "to be scikit-learn estimators by name", rivals, 'For example {"SVM": SVC(C=1.0)}.'))
    if rivals and train.task not in ("classification", "regression"):
        raise ConfigError(expected("rivals", "learning_curve", "to be None for several labels or targets", list(rivals)))
    starts = _starts(model, range(seed, seed + seeds))
    base = optimizer or AdamW(1e-3)
    orders = [Rng(key_of(seed + i), stream_of("learning curve")).permutation(n) for i in range(seeds)]
    subsets = [(size, i, orders[i][:size].sort().values) for size in sizes for i in range(seeds)]
    members = [Member(cocktail, base, seed + i, initial=starts[i], rows=rows, name=f"{size} rows, seed {seed + i}") for size, i, rows in subsets]
    batch = min(int(settings.pop("batch_size", 128)), n)
    epochs, steps = settings.pop("epochs", None), settings.pop("steps", None)
    steps = steps if steps is not None else max(1, round((50.0 if epochs is None else epochs) * n / batch))
    table: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    for k, size in enumerate(sizes):
        places = range(k * seeds, (k + 1) * seeds)
        own = members[places.start : places.stop]
        done = fit(model, own, train, validation=held, early_stopping=None, seed=seed, batch_size=min(batch, size), steps=steps, **settings)
        facts = _facts(done)
        table.append(_row(size, "network", [outcome.score for outcome in done.outcomes if outcome.usable]))
        for name, rival in (rivals or {}).items():
            table.append(_row(size, name, [_rival_score(rival, train.take(subsets[j][2]), held, done) for j in places]))
    out = Curve(table)
    out.attrs = {"x": "rows", **facts}
    return out


def _facts(done: Fit) -> dict[str, Any]:
    """What a drawing says of the scores: which they are, and of how many rows."""
    metric, held = done.population.metric, done.population.evaluator.validation
    named = {} if metric is None else {"metric": metric.name, "greater": metric.greater_is_better}
    task = done.population.data.task
    return {**named, "task": task if isinstance(task, str) else "", "train": len(done.population.data), "validation": 0 if held is None else len(held)}


def _row(size: int, model: str, scores: Sequence[float]) -> dict[str, Any]:
    return {"rows": size, "model": model, "n": len(scores), "validation_score": _mean(scores), "validation_score_sd": _sd(scores)}


def _rival_score(rival: Any, train: Dataset, held: Dataset, done: Fit) -> float:
    """A scikit-learn estimator's score on the held rows, under the metric of the population."""
    from sklearn.base import clone

    metric = done.population.metric
    if isinstance(train.labeled, Tensor):
        train = train.take(train.labeled.nonzero().squeeze(1))
    if isinstance(held.labeled, Tensor):
        held = held.take(held.labeled.nonzero().squeeze(1))
    assert metric is not None and isinstance(train.y, Tensor) and isinstance(held.y, Tensor)
    classes = train.task == "classification"
    weight = torch.ones(len(held)) if held.weight is None else held.weight
    if classes and int(train.y.any(0).sum()) == 1:  # a subset of one class teaches nothing else
        return float(metric(train.y[:1].expand_as(held.y), held.y, weight))
    target = train.y.argmax(1) if classes else train.y.squeeze(1)
    fitted: Any = clone(rival)
    fitted.fit(_columns(train), target.numpy())
    if classes and hasattr(fitted, "predict_proba"):
        shares = torch.zeros_like(held.y)
        shares[:, torch.as_tensor(fitted.classes_)] = torch.as_tensor(np.asarray(fitted.predict_proba(_columns(held))), dtype=held.y.dtype)
        predictions = shares
    else:
        found = torch.as_tensor(np.asarray(fitted.predict(_columns(held))))
        predictions = torch.nn.functional.one_hot(found.long(), held.y.shape[1]).to(held.y.dtype) if classes else found.to(held.y.dtype).reshape(held.y.shape)
    return float(metric(predictions, held.y, weight))


def _columns(data: Dataset) -> Any:
    leaves = leaves_of(data.x)
    return torch.cat([leaf.reshape(len(leaf), -1).to(torch.float64) for leaf in leaves], 1).numpy()


def _starts(model: nn.Module, seeds: Sequence[int]) -> list[dict[str, Tensor] | None]:
    """First weights by seed; where a rule is missing for some parameter, the model's own for all."""
    if unreached(model):
        return [None] * len(seeds)
    out: list[dict[str, Tensor] | None] = []
    for seed in seeds:
        twin = copy.deepcopy(model)
        initialize(twin, seed)
        out.append({name: t.detach().clone() for name, t in twin.state_dict().items()})
    return out


def _spread(spec: StrengthSpec, points: int) -> list[float]:
    low, high = spec.low, spec.high
    if points == 1:
        return [spec.default]
    shares = np.linspace(0.0, 1.0, points)
    found = np.geomspace(low, high, points) if spec.log else low + shares * (high - low)
    return [float(f"{v:.6g}") for v in found]


def _scores(done: Fit, places: Sequence[int]) -> dict[str, Any]:
    last = [done.outcomes[i].history[-1] for i in places if done.outcomes[i].history and not done.outcomes[i].status.startswith("diverged")]
    out: dict[str, Any] = {"n": len(last)}
    for name in ("train_loss", "train_score", "validation_loss", "validation_score"):
        found = [float(row[name]) for row in last if name in row]
        out |= {name: _mean(found), f"{name}_sd": _sd(found)}
    return out


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _positive(name: str, owner: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(expected(name, owner, "to be a whole number in [1, inf)", value))
