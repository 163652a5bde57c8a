"""What one network of a population has of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from temperance.core.cocktail import Cocktail
from temperance.core.shown import shown
from temperance.train.curriculum import Curriculum
from temperance.train.optimizers import AdamW, Optimizer


@shown
@dataclass(frozen=True, eq=False)
class Member:
    """One network of a population.

    Attributes:
        cocktail: its regularizers.
        optimizer: its optimizer, with its own numbers.
        seed: of its rows, masks and noise.
        initial: its state dict at the start (``None``: the given network's own).
        rows: the rows it trains on (``None``: all); repeats are a bootstrap.
        validation: the rows of the training data it is validated on, for folds (``None``: the common validation data).
        length: its share of the planned steps: it goes through its schedules in that time, and ends there.
        curriculum: which of its rows it may see when (``None``: all of them, always).
        schedule: where its schedules stand at its start and at its end, as shares of them; ``(0.4, 0.6)`` goes through their middle.
        name: for tables and errors.

    Example:
        >>> import temperance as tp
        >>> members = [tp.Member(tp.Cocktail(tp.L2(1e-3)), tp.optim.SGD(lr=0.1), seed=seed) for seed in range(3)]
        >>> [member.seed for member in members]
        [0, 1, 2]
    """

    cocktail: Cocktail = field(default_factory=Cocktail)
    optimizer: Optimizer = field(default_factory=AdamW)
    seed: int = 0
    initial: Mapping[str, Tensor] | None = None
    rows: Sequence[int] | Tensor | None = None
    validation: Sequence[int] | Tensor | None = None
    length: float = 1.0
    name: str = ""
    curriculum: Curriculum | None = None
    schedule: tuple[float, float] = (0.0, 1.0)
