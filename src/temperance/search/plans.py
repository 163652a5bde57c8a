"""Static plans: which networks, cocktails, batch sizes and lengths of training a search starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import is_image, leaves_of, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.core.inputs import refuse_without_images
from temperance.core.program import Program, wiring_for
from temperance.core.regularizer import Regularizer
from temperance.core.schedule import FlatCosine, WarmUp
from temperance.data.dataset import Dataset
from temperance.nets import MultiHead, NeighborNet, TabularNet, build_seeded, quantile_edges
from temperance.regularizers import (
    EMA,
    VAT,
    Affine,
    ColorJitter,
    CutMix,
    CutOut,
    Dropout,
    InputNoise,
    LabelSmoothing,
    MeanTeacher,
    MixUp,
    PseudoLabels,
    RandomCrop,
    WeightDecay,
)
from temperance.search.image_ranges import searched
from temperance.search.prior import for_networks, for_tables
from temperance.search.space import Known, StaticPlan, chosen_regularizers, one_average
from temperance.train.optimizers import AdamW

LIKELY = {"weight_decay.lam": 0.1, "dropout.rate": 0.1, "mean_teacher.lam": 1.0, "mean_teacher.decay": 0.99}
LIKELY |= {"affine.translate": 0.06, "affine.rotate": 8.0, "affine.scale": 0.1}
MOST_ENCODED, MOST_NUMBERS = 64, 1024  # columns of more than two values, columns
EARLIEST_ON_TABLES = 128  # steps; after 40 an average of weights still has the first ones in it, and plain networks are ahead of all regularized ones
COLUMN_STEP = 0.03  # of a column's factor at a plan's own learning rate; with 0.12, log-loss on jungle-chess was .21 to .22 in place of .20
FEW_ROWS = 1200  # to learn from: below, plain numbers and BatchNorm are worth trying
UNLABELED = 0.1  # share of rows without a target from which the search tries to learn from them
RAMP = 0.2  # share of a run in which what relies on the network's own answers grows
MOST_EPOCHS, MOST_ON_TABLES = 60.0, 100.0
MANY_ROWS, LONGEST_STEPS = 5000, 16_000  # rows from which a full run has fewer passes than that, and the steps up to which it is lengthened
DENSITY = 0.125  # best factors of distances on validation rows follow powers of .05 to .2 of the rows, on one table of four a negative one
NEIGHBOR_BATCH = 128  # at most: with 256 rows, in equal time, best networks were no better on four tables and 10 % worse on one (two splits)
NEIGHBOR_STEPS, LONGEST_OF_NEIGHBORS = 1000, 4000  # of a full run: best states came after 40 to 300, on jungle-chess at the end of 1,000
EARLIEST_OF_NEIGHBORS = 64  # steps
MOST_REMEMBERED, MOST_CELLS = 20_000, 1_000_000  # rows, each of which is compared with all of them, and their cells: 4 MB a network


def default_regularizers(task: str, channels: int = 0, unlabeled: bool = False) -> list[Regularizer]:
    """What every search tries without being asked: cheap ones that need no extra pass, and others where rows without a target repay them.

    Args:
        task: smoothed labels need classes.
        channels: of the images among the inputs; 0 where there are none.
        unlabeled: whether many rows have no target.
    """
    targets: list[Regularizer] = [LabelSmoothing()] if task in ("classification", "multilabel") else []
    light: list[Regularizer] = [ColorJitter()] if channels > 1 else []
    images = [Affine(padding="border"), RandomCrop(padding="reflect"), *light, CutOut()] if channels else []
    guesses: list[Regularizer] = [PseudoLabels(WarmUp(1.0, fraction=RAMP))] if task == "classification" else []
    more = [VAT(), *guesses, MeanTeacher(WarmUp(1.0, fraction=RAMP))] if unlabeled else []
    return [*targets, *images, *more, MixUp(), CutMix(), InputNoise(), Dropout(), WeightDecay(), EMA()]


def kind_of(data: Dataset) -> str:
    """The task, as far as the choice of regularizers goes: of several heads the first that has classes or labels, if one has."""
    kinds = [data.task] if isinstance(data.task, str) else [*data.task.values()]
    return next((kind for kind in kinds if kind != "regression"), "regression")


def table_network(data: Dataset, **settings: Any) -> nn.Module:
    """A network for a table; for several heads the network up to its last hidden layer, and a hidden layer of half that width for every head.

    Args:
        data: with ``num`` and ``cat``.
        settings: of :class:`~temperance.nets.TabularNet`.
    """
    assert isinstance(data.x, dict)
    numbers = int(data.x["num"].shape[1])
    if isinstance(data.y, Tensor):
        return TabularNet(numbers, data.cardinalities, data.out_features, **settings)
    trunk = TabularNet(numbers, data.cardinalities, None, **settings)
    return MultiHead(trunk, trunk.width, {name: int(y.shape[1]) for name, y in data.y.items()}, (trunk.width // 2,))


def table_spec(data: Dataset, network: str = "TabularNet", **settings: Any) -> dict[str, Any] | None:
    """A network for a table as plain values; ``None`` for several heads."""
    assert isinstance(data.x, dict)
    if isinstance(data.y, dict):
        return None
    sizes = {"num_features": int(data.x["num"].shape[1]), "cardinalities": list(data.cardinalities), "out_features": data.out_features}
    return {"network": network, "arguments": {**sizes, **settings}}


def many_unlabeled(data: Dataset) -> bool:
    """Whether enough rows have no target to try what learns from them: a tenth."""
    return isinstance(data.labeled, Tensor) and int((~data.labeled).sum()) >= UNLABELED * len(data)


def unlabeled_rows(data: Dataset, cocktail: Cocktail) -> str:
    """How a cocktail used the rows without a target, in a sentence.

    Example:
        >>> import torch
        >>> data = Dataset(torch.zeros(4, 1), torch.zeros(4, 1), "regression", labeled=torch.tensor([True, False, False, True]))
        >>> unlabeled_rows(data, Cocktail(VAT(), Dropout()))
        '2 rows without a target were used by VAT'
    """
    assert isinstance(data.labeled, Tensor)
    names = [type(r).__name__ for r in cocktail if r.spec == VAT.spec and not r.is_off()]
    count = int((~data.labeled).sum())
    return f"{count:,} rows without a target were used by {', '.join(names) if names else 'no regularizer of the cocktail'}"


def image_channels(data: Dataset) -> int:
    """Channels of the first image among the inputs, 0 where there is none."""
    return next((int(leaf.shape[1]) for leaf in leaves_of(data.x) if is_image(leaf)), 0)


def default_batch_size(n: int) -> int:
    """Rows a step: 64 below 2,000 rows, else 256.

    Example:
        >>> [default_batch_size(n) for n in (500, 5000)]
        [64, 256]
    """
    return 64 if n < 2000 else 256


def default_epochs(n: int, batch_size: int, most: float = MOST_EPOCHS) -> float:
    """Passes of a full run: about 2,000 steps, at least 8 passes and at most so many.

    Example:
        >>> default_epochs(500, 64), default_epochs(500, 64, most=100.0), default_epochs(32_000, 256)
        (60.0, 100.0, 16.0)
    """
    return float(min(most, max(8, round(2000 * batch_size / n))))


def advised_epochs(data: Dataset, n: int, batch_size: int, most: float = MOST_EPOCHS) -> float:
    """:func:`default_epochs` of all rows, counted in passes over the ``n`` that are in memory at a time."""
    whole = n + data.total - len(data)
    return default_epochs(whole, batch_size, most) * whole / n


def suitable(wanted: list[Regularizer], model: nn.Module, data: Dataset, asked: Sequence[str | Regularizer]) -> Cocktail:
    """Those that the network and the task can take; what was asked for by name must be one of them."""
    names = {item if isinstance(item, str) else type(item).__name__ for item in asked}
    kept: list[Regularizer] = []
    wiring = wiring_for(map(Cocktail, wanted), model, data.x)
    for regularizer in wanted:
        try:
            refuse_without_images(Cocktail(regularizer), data.x)
            Program(Cocktail(regularizer), model, criterion_for(data.task), wiring=wiring)
        except ConfigError:
            if type(regularizer).__name__ in names or any(name.replace("_", "").lower() == type(regularizer).__name__.lower() for name in names):
                raise
            continue
        kept.append(regularizer)
    whole = Cocktail(*kept)
    Program(whole.with_strengths(one_average(whole, whole.strengths())), model, criterion_for(data.task), wiring=wiring)
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
    if isinstance(data.x, dict):
        _refuse_plain(network, data)
    wanted = default_regularizers(kind_of(data), image_channels(data), many_unlabeled(data))
    cocktail = suitable(chosen_regularizers(wanted, use, without), network, data, use)
    size = batch_size or default_batch_size(len(data))
    length = epochs or advised_epochs(data, len(data), size)
    cocktail, ranges, fixed = searched(cocktail, data.x, use)
    likely = {k: v for k, v in LIKELY.items() if k in cocktail.specs()}
    optimizer = AdamW(FlatCosine(1e-3, flat=0.5, warmup=0.02))
    known = [] if image_channels(data) else for_networks()
    return [StaticPlan("network", made, cocktail, optimizer, lr, size, length, type(network).__name__, likely, known=known, ranges=ranges, fixed=fixed)]


def _refuse_plain(network: nn.Module, data: Dataset) -> None:
    """A network that takes one tensor cannot take a table: said before it trains.

    Raises:
        ConfigError: how a table arrives.
    """
    try:
        with torch.no_grad():
            build_seeded(lambda: network.eval()(map_leaves(lambda leaf: leaf[:2], data.x)), 0)
    except (TypeError, AttributeError) as error:
        keys = ", ".join(f"x[{name!r}] {tuple(leaf.shape)}" for name, leaf in data.x.items()) if isinstance(data.x, dict) else ""
        got = f"got {type(error).__name__}: {str(error).splitlines()[0].rstrip('.')}"
        raise ConfigError(f"Expected the network of `build` to take a dict of tensors, {keys}, {got}. Read these in forward(x).") from error
    finally:
        network.train()


def _bins(n: int) -> int:
    """Bins a column: more rows can fill more of them, and many rows make each costlier."""
    return 16 if n < 2000 else 24


def tabular_plans(data: Dataset, train_rows: Sequence[int], *, use: Sequence[str | Regularizer] = (), without: Sequence[str] = ()) -> list[StaticPlan]:
    """Plans for tables: an MLP on piecewise-linear, on periodic and on plain numbers; with BatchNorm too where rows are few; and soft nearest neighbors.

    Which encoding of the numbers suits a table cannot be told beforehand, and it matters more than any strength: so it is the first thing the
    search decides.

    Args:
        data: all rows, with ``num`` and ``cat``.
        train_rows: rows that bin edges may be learned from.
        use: regularizers to search over beside the default ones.
        without: names of regularizers to leave out; ``"neighbors"`` leaves out the networks that keep training rows in the model.
    """
    assert isinstance(data.x, dict)
    numbers = int(data.x["num"].shape[1])
    n = len(train_rows)
    keeping = "neighbors" not in without
    without = [name for name in without if name != "neighbors"]
    size = default_batch_size(n)
    shapes: list[tuple[str, float, dict[str, Any]]] = []
    edges = quantile_edges(data.x["num"][list(train_rows)], _bins(n)) if 0 < numbers <= MOST_NUMBERS else []
    bent = sum(len(own) > 2 for own in edges)  # a column of two values has one bin, which is its number
    if 0 < numbers <= MOST_ENCODED or 0 < bent <= MOST_ENCODED:
        shapes.append(("piecewise", 0.004, {"hidden": [128, 128], "numbers": "piecewise", "edges": edges}))
    if 0 < numbers <= MOST_ENCODED:
        shapes.append(("periodic", 0.012, {"hidden": [128, 128], "numbers": "periodic", "sigma": 0.5}))
    if n < FEW_ROWS or numbers > MOST_ENCODED or not shapes:
        shapes.append(("plain", 0.007, {"hidden": [128, 128], "activation": "silu"}))
        shapes.append(("batchnorm", 0.004, {"hidden": [128, 128], "norm": "batch"}))
    plans: list[StaticPlan] = []
    lengths = (0.25, 0.5, 1.0) if n < FEW_ROWS else (0.15, 0.3, 0.6, 1.0)
    wanted = chosen_regularizers(default_regularizers(kind_of(data), unlabeled=many_unlabeled(data)), use, without)
    for name, rate, own in shapes:
        settings = {**own, "column_rate": COLUMN_STEP / rate}

        def made(seed: int, settings: dict[str, Any] = settings) -> nn.Module:
            return build_seeded(lambda: table_network(data, **settings), seed)

        cocktail = suitable(wanted, made(0), data, use)
        words = f"MLP {'-'.join(map(str, settings['hidden']))}, {settings.get('numbers', 'plain')} numbers" + (", BatchNorm" if settings.get("norm") else "")
        known = for_tables(rate, lengths)
        plans.append(
            StaticPlan(
                name,
                made,
                cocktail,
                AdamW(FlatCosine(rate, flat=0.5)),
                (1.4e-3, 2e-2),
                size,
                advised_epochs(data, n, size, MOST_ON_TABLES),
                words,
                {k: v for k, v in LIKELY.items() if k in cocktail.specs()},
                lengths,
                table_spec(data, **settings),
                known=known,
                earliest=EARLIEST_ON_TABLES,
                longest=LONGEST_STEPS * size / n if n > MANY_ROWS else 0.0,
                first=0 if many_unlabeled(data) else len(known),  # no other table had rows without a target
            )
        )
    if keeping and shapes[0][0] == "piecewise" and _comparable(data, n):
        encoding = {"numbers": "periodic", "sigma": 0.3} if numbers <= MOST_ENCODED else {"numbers": "piecewise", "edges": edges}
        plans.append(_neighbors(data, n, size, wanted, lengths, encoding))
    return plans


def _comparable(data: Dataset, n: int) -> bool:
    """Whether so many rows can be compared with each other: one target, known for all, and not too many cells."""
    assert isinstance(data.x, dict)
    cells = n * sum(leaf.shape[1] for leaf in data.x.values())
    return data.further is None and n <= MOST_REMEMBERED and cells <= MOST_CELLS and data.labeled is None and isinstance(data.y, Tensor)


def _neighbors(data: Dataset, n: int, size: int, wanted: Sequence[Regularizer], lengths: Sequence[float], encoding: dict[str, Any]) -> StaticPlan:
    """A network that answers from similar rows: it needs few steps, and nothing that changes inputs."""
    size = min(size, NEIGHBOR_BATCH)
    rate, own = 0.003, {**encoding, **({} if data.weight is None else {"weighted": True})}
    spec = table_spec(data, "NeighborNet", task=str(data.task), width=64, column_rate=COLUMN_STEP / rate, density=DENSITY, **own)
    assert spec is not None

    def made(seed: int) -> nn.Module:
        return build_seeded(lambda: NeighborNet(**spec["arguments"]), seed)

    cocktail = suitable(list(wanted), made(0), data, ())
    likely = {"dropout.rate": 0.1, "weight_decay.lam": 0.02, "ema.decay": 0.9}
    known = [
        Known(likely, rate, 1.0),
        Known({"dropout.rate": 0.35, "weight_decay.lam": 0.02, "ema.decay": 0.9}, 2 * rate, 1.0),
        Known({"weight_decay.lam": 0.2, "ema.decay": 0.95}, rate, 1.0),
        Known({"dropout.rate": 0.4, "weight_decay.lam": 0.02}, 0.5 * rate, 1.0),
    ]
    return StaticPlan(
        "neighbors",
        made,
        cocktail,
        AdamW(FlatCosine(rate, flat=0.5)),
        (8e-4, 1e-2),
        size,
        max(4.0, round(NEIGHBOR_STEPS * size / n)),
        f"soft nearest neighbors in a learned space of 64, {encoding['numbers']} numbers",
        {k: v for k, v in likely.items() if k in cocktail.specs()},
        lengths,
        spec,
        known=known,
        earliest=EARLIEST_OF_NEIGHBORS,
        longest=LONGEST_OF_NEIGHBORS * size / n if n > MANY_ROWS else 0.0,
        first=2,
        alone=1.0,
        fixed={"dropout.input_rate": 0.0} if "dropout.input_rate" in cocktail.specs() else {},
    )
