"""What a fitted estimator keeps of its training to explain its cocktail, and which rows that is measured on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from temperance.core.ambient import plainly
from temperance.core.criterion import Criterion
from temperance.core.device import device_of, precision_of
from temperance.core.errors import ConfigError, DataError
from temperance.data import Split
from temperance.data.dataset import Dataset
from temperance.data.groups import draw_groups, group_codes
from temperance.estimators.rows import rows_of_heads, validation_rows
from temperance.search.attribution.explain import SEEDS, explain
from temperance.search.attribution.explanation import Explanation
from temperance.search.space import Config
from temperance.train.metrics import Metric
from temperance.train.retrain import concatenate


@dataclass(frozen=True, eq=False)
class Basis:
    """What the cocktail of a fitted estimator came from.

    Attributes:
        config: the winner's, or that of the given cocktail.
        steps: planned for a full run.
        data: all rows, encoded.
        split: which of them validated; ``None`` where none did.
        metric: what decided.
        criterion: the loss.
        searched: whether the rows chose the cocktail.
        groups: of the rows.
    """

    config: Config
    steps: int
    data: Dataset
    split: Split | None
    metric: Metric
    criterion: Criterion
    searched: bool
    groups: np.ndarray | None = None

    def explained(
        self,
        held: Dataset | None,
        groups: np.ndarray | None,
        *,
        seeds: int,
        budget: str | float | None,
        memory: str | int,
        device: torch.device | None,
        precision: str,
        factor: float,
        notes: list[str],
        on_progress: Callable[[Mapping[str, Any]], None] | None,
    ) -> Explanation:
        """The explanation, measured on these rows, or else on a part of the rows that the estimator was fitted on.

        Args:
            held: rows that the fit has not seen.
            groups: of these.
            seeds: networks of each version.
            budget: seconds, or text.
            memory: what populations may plan for.
            device: where they train.
            precision: of products in training.
            factor: turns scores into the target's own units.
            notes: to be told with it.
            on_progress: called with what is done.
        """
        split = self._validated()
        if held is None:
            data, split = self.data, set_apart(split, self.data, self.groups, self.config.seed)
        else:
            data, n = concatenate(self.data, held), len(self.data)
            codes = None if groups is None else np.concatenate([np.full(n, -1), groups])
            split = replace(split, test=np.arange(n, n + len(held)), groups=codes)
        seen = held is None and self.searched
        if seen:
            why = "the search chose this cocktail with the help of the rows that it is measured on, so what is on may look better than it is"
            notes = [*notes, f"{why}: `explain(X, y)` with rows that `fit` has not seen does not have this fault"]
        return explain(
            self.config,
            data,
            split,
            self.metric,
            steps=self.steps,
            criterion=self.criterion,
            scored_by=self.criterion,
            seeds=seeds,
            budget=budget,
            memory=memory,
            device=device,
            precision=precision,
            on_progress=on_progress,
            factor=factor,
            notes=notes,
            fresh=not seen,
            chosen=self.searched,
        )

    def _validated(self) -> Split:
        """The split, or one like it where the estimator was fitted without validation rows."""
        if self.split is not None:
            return self.split
        y, task, labeled, seed = self.data.y, self.data.task, self.data.labeled, self.config.seed
        if isinstance(y, dict) and isinstance(task, dict):
            return rows_of_heads(y, task, labeled, seed=seed)
        assert isinstance(y, Tensor) and isinstance(task, str)
        return validation_rows(y, task, seed=seed, labeled=labeled.numpy() if isinstance(labeled, Tensor) else None)


def set_apart(split: Split, data: Dataset, groups: np.ndarray | None, seed: int) -> Split:
    """A split whose test rows come from its validation rows: of folds the first, of a hold-out half.

    Args:
        split: without test rows.
        data: all rows.
        groups: of the rows; those of a group stay together.
        seed: of the half.

    Raises:
        DataError: too few rows to put any apart.

    Example:
        >>> from temperance.data import as_dataset
        >>> data = as_dataset(torch.zeros(40, 1), [0, 1] * 20)
        >>> split = set_apart(validation_rows(data.y, "classification", seed=0), data, None, 0)
        >>> len(split.test), [(len(train), len(held)) for train, held in split.folds]
        (8, [(24, 8), (24, 8), (24, 8), (24, 8)])
    """
    if len(split.folds) > 2:
        (_, test), *rest = split.folds
        own = np.arange(len(data)) if groups is None else groups

        def without(rows: np.ndarray) -> np.ndarray:
            return rows[~np.isin(own[rows], own[test])]  # a row without a target does not train beside the test rows of its group

        folds = [(without(train), held) for train, held in rest]
        return replace(split, train=without(split.train), folds=folds, test=test, groups=groups)
    train, held = split.folds[0]
    codes = np.arange(len(data)) if groups is None else groups
    if len(np.unique(codes[held])) < 2:
        mend = "Give rows that fit has not seen: explain(X, y)."
        raise DataError(f"Expected two validation rows or more to put one apart for explain, got {len(held)}. {mend}")
    strata = data.y.argmax(1).numpy() if data.task == "classification" and isinstance(data.y, Tensor) else np.zeros(len(data), np.int64)
    taken = draw_groups(strata[held], codes[held], 0.5, np.random.default_rng([seed, 2]))
    return replace(split, validation=held[~taken], folds=[(train, held[~taken])], test=held[taken], groups=groups)


class Explained:
    """The part of an estimator that explains its cocktail."""

    _basis: Basis | None
    recipe: Any
    refits: int
    memory: str | int
    device: str | torch.device | None
    precision: str

    @abstractmethod
    def _shown_score(self, score: float) -> float:
        """A score in the target's own units."""

    def __getstate__(self) -> dict[str, Any]:
        """Without the rows it was fitted on, which ``explain`` needs: a model that is passed on holds none."""
        state: dict[str, Any] = super().__getstate__()  # pyright: ignore[reportAssignmentType] -- that of BaseEstimator
        return {name: value for name, value in state.items() if name != "_basis"}

    @plainly
    def explain(
        self,
        X: Any = None,
        y: Any = None,
        *,
        groups: Any = None,
        seeds: int = SEEDS,
        budget: str | float | None = None,
        on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Explanation:
        """Which regularizers of the cocktail help: train the network without each of them, and with each other one, and measure the difference.

        Give rows that ``fit`` has not seen. Without them a part of the rows of ``fit`` is put apart, and the rest trains. Where these rows chose the
        cocktail, what is on may look better than it is, and the answer says so; with a given cocktail it does not. See docs/explain.md.

        Args:
            X: rows to measure on, that ``fit`` has not seen.
            y: their targets.
            groups: of the rows of X, where ``fit`` was given groups.
            seeds: networks of each version.
            budget: seconds, or ``"90s"``, ``"5m"``, ``"1h"``; what is measured by then is told.
            on_progress: called with a dict: ``phase``, ``done`` in [0, 1], ``left`` seconds, ``metric``.

        Raises:
            ConfigError: settings that cannot work; an estimator that was unpickled or cloned, whose rows are not there; one fitted by a recipe.
            DataError, ValueError, TypeError: rows that cannot be used.
            KeyboardInterrupt: interrupted before a first seed was measured; later, what there is is returned.

        Example:
            >>> import temperance as tp
            >>> X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
            >>> made = tp.TemperanceClassifier(tp.Cocktail(tp.Dropout(0.2)), epochs=2, random_state=0).fit(X, y)
            >>> made.explain(seeds=2).table()["answer"].tolist()  # 12 rows are too few
            ['cannot tell']
        """
        check_is_fitted(self, "model_")
        owner, basis = type(self).__name__, self.__dict__.get("_basis")
        if self.recipe is not None:
            raise ConfigError(f"Expected a {owner} with a searched or a given cocktail to explain, got one with a recipe. Explain the fit it came from.")
        if basis is None:
            raise ConfigError(f"Expected a {owner} that still has the rows it was fitted on, got one from a pickle or a copy. Fit it again, then explain it.")
        if (X is None) != (y is None):
            raise ConfigError("Expected `X` and `y` together, got one of them. Give both, or neither.")
        if groups is not None and X is None:
            raise ConfigError("Expected no `groups` without `X`, got groups. Those given to fit are kept; leave them out.")
        if X is not None and groups is None and basis.groups is not None:
            raise ConfigError("Expected `groups` of the rows of X, as fit had groups, got none. Give them, or np.arange(len(X)) if each row stands alone.")
        held = None if X is None else self._held_out(X, y)
        return basis.explained(
            held,
            None if groups is None or held is None else group_codes(groups, len(held)),
            seeds=seeds,
            budget=budget,
            memory=self.memory,
            device=device_of(self.device, owner),
            precision=precision_of(self.precision, owner),
            factor=self._shown_score(1.0),
            notes=[f"the fitted model is an average of {self.refits} networks"] if self.refits > 1 else [],
            on_progress=on_progress,
        )

    @abstractmethod
    def _held_out(self, X: Any, y: Any) -> Dataset:
        """Rows with their targets, as ``fit`` encoded its own."""
