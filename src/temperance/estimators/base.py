"""What the estimators share: parameters, the order of a fit, the encoded rows at prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn import utils
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted  # pyright: ignore[reportPrivateUsage] -- what estimators outside scikit-learn use too
from torch import Tensor, nn

from temperance.core.ambient import plainly
from temperance.core.batch import map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, criterion_for
from temperance.core.device import device_of, precision_of
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.renamed import OldName, renamed
from temperance.data.dataset import Dataset, Tree
from temperance.data.groups import group_codes
from temperance.estimators.explaining import Explained
from temperance.estimators.inputs import Encoder, Rows, checked, encoded, fit_encoder, is_table, parts_of, taken
from temperance.estimators.report import Report, Trained
from temperance.estimators.rows import given_rows, known_targets, learned_rows, validation_rows
from temperance.estimators.training import Effort, train, train_recipe
from temperance.nets.backbone import backbone_of
from temperance.search.kadra import check_space
from temperance.search.score import predict
from temperance.train.metrics import Metric, metric_for
from temperance.train.recipe import Recipe
from temperance.train.retrain import concatenate

_check_array: Any = utils.check_array  # its types are inferred from its defaults, which are narrower than what it takes


class SearchedEstimator(Explained, BaseEstimator):
    """What every estimator with a cocktail has: its parameters, their check, and the encoded rows at prediction."""

    model_: nn.Module
    module_ = OldName("model_")
    encoder_: Encoder
    search_: Report
    cocktail_: Cocktail
    history_: pd.DataFrame
    best_score_: float
    n_iter_: int
    n_features_in_: int
    space: str | None = None
    _plain: bool

    @renamed(learning_rate="lr")
    def __init__(
        self,
        cocktail: Cocktail | None = None,
        *,
        model: Callable[[Dataset], nn.Module] | None = None,
        trials: int = 16,
        steps: int | None = None,
        epochs: float | None = None,
        metric: str | None = None,
        validation_fraction: float | None = None,
        refits: int = 1,
        use: Sequence[str | Regularizer] = (),
        without: Sequence[str] = (),
        batch_size: int | None = None,
        lr: float | None = None,
        early_stopping: bool = True,
        memory: str | int = "4G",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        recipe: Any = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
        backbone: nn.Module | str | None = None,
    ) -> None:
        self.cocktail = cocktail
        self.model = model
        self.trials = trials
        self.steps = steps
        self.epochs = epochs
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.refits = refits
        self.use = use
        self.without = without
        self.batch_size = batch_size
        self.lr = lr
        self.early_stopping = early_stopping
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose
        self.recipe = recipe
        self.device = device
        self.precision = precision
        self.backbone = backbone

    @renamed(learning_rate="lr")
    def set_params(self, **params: Any) -> Any:
        """As in scikit-learn; returns the estimator itself."""
        return super().set_params(**params)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Pickles of version 0.1 have old names."""
        names = {"learning_rate": "lr", "module_": "model_"}
        super().__setstate__({names.get(name, name): value for name, value in state.items()})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _effort(self) -> Effort:
        owner = type(self).__name__

        def whole(name: str, value: Any, least: int = 1) -> int:
            if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
                raise ConfigError(expected(name, owner, f"to be a whole number in [{least}, inf)", value))
            return int(value)

        def positive(name: str, value: Any, most: float = float("inf")) -> float:
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < most:
                raise ConfigError(expected(name, owner, f"in (0, {most:g})", value))
            return float(value)

        if self.cocktail is not None:
            if not isinstance(self.cocktail, Cocktail):
                mend = "For example Cocktail(L2(1e-4), Dropout(0.2)); None searches one."
                raise ConfigError(expected("cocktail", owner, "to be a Cocktail or None", self.cocktail, mend))
            if len(self.use) or len(self.without):
                raise ConfigError("Expected `use` and `without` to be empty with a given `cocktail`, got names. Leave them out, or search with cocktail=None.")
        if self.steps is not None and self.epochs is not None:
            raise ConfigError("Expected either `steps` or `epochs`, got both. Set one of them to None.")
        if self.validation_fraction is not None:
            positive("validation_fraction", self.validation_fraction, 1.0)
            if self.cocktail is not None and not self.early_stopping:
                mend = "With a given cocktail and without early stopping no row validates."
                raise ConfigError(expected("validation_fraction", owner, "to be None", self.validation_fraction, mend))
        if self.model is not None and not callable(self.model):
            raise ConfigError(expected("model", owner, "to be a function build(data) -> nn.Module", self.model))
        check_space(self.space)
        if self.space is not None and self.model is not None:
            mend = "Leave one of them out."
            raise ConfigError(expected("model", owner, f"to be None with the space {self.space!r}, which brings its networks", self.model, mend))
        seed = self.random_state if isinstance(self.random_state, Integral) else check_random_state(self.random_state).randint(2**31 - 1)
        return Effort(
            whole("trials", self.trials),
            None if self.steps is None else whole("steps", self.steps),
            None if self.epochs is None else positive("epochs", self.epochs),
            None if self.batch_size is None else whole("batch_size", self.batch_size),
            None if self.lr is None else positive("lr", self.lr),
            bool(self.early_stopping),
            whole("refits", self.refits),
            self.memory,
            whole("random_state", seed, 0),
            int(self.verbose),
            device_of(self.device, owner),
            precision_of(self.precision, owner),
        )

    def _shown_score(self, score: float) -> float:
        """A score in the target's own units."""
        return score

    def _finished(self, made: Trained) -> Any:
        """The fitted estimator, unless Ctrl-C ended its training: it holds the best so far, and whoever called has to stop too."""
        self.model_, self.search_, self.history_, self._basis = made
        self.cocktail_, self.n_iter_, self.best_score_ = self.search_.cocktail, self.search_.steps, self._shown_score(self.search_.score)
        if self.search_.interrupted:
            raise KeyboardInterrupt(f"the {type(self).__name__} holds the best network until then")
        return self

    def _inputs(self, X: Any) -> Iterator[Tree]:
        """The encoded rows of a prediction, images some at a time."""
        check_is_fitted(self, "model_")
        for part in parts_of(checked(self, X, reset=False)):
            yield encoded(self.encoder_, part, self._plain)

    @property
    def _cardinalities(self) -> tuple[int, ...]:
        return () if self._plain else self.encoder_.cardinalities

    @plainly
    def _predicted(self, X: Any, criterion: Criterion) -> Any:
        """Probabilities or standardized values ``(n, outputs)``, in blocks of few fixed sizes; with several heads a dict."""
        found = [predict(self.model_, criterion, x) for x in self._inputs(X)]
        return map_leaves(lambda *parts: torch.cat(parts), *found)


@dataclass(frozen=True, eq=False)
class _Given:
    """Rows with their targets: which are known (``None``: all), their weights and groups."""

    rows: Rows
    target: np.ndarray
    known: np.ndarray | None
    weight: np.ndarray | None
    groups: np.ndarray | None


class TemperanceEstimator(SearchedEstimator):
    """The common part; see :class:`TemperanceClassifier` and :class:`TemperanceRegressor`."""

    # What the two differ in

    @abstractmethod
    def _fit_target(self, y: np.ndarray, weight: np.ndarray | None) -> str:
        """Learn how targets are encoded; the task."""

    @abstractmethod
    def _encode_target(self, y: np.ndarray, named: str = "y") -> Tensor:
        """Targets ``(n, outputs)`` in float32; ``named`` is what messages call them."""

    def _weights(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """The weights that training and validation count rows with."""
        return weight

    @abstractmethod
    def _shape_target(self, y: np.ndarray) -> np.ndarray:
        """One column as ``(n,)``, several as they are; what cannot be a target is refused."""

    def _metric(self, task: str) -> Metric:
        return metric_for(self.metric, task)

    # Fit

    @plainly
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None, groups: Any = None) -> Any:
        """Search a cocktail, or train with the given one, and keep a plain network.

        Args:
            X: rows: an array of numbers (NaN is missing), or a frame with numbers, text, categories, booleans and dates. Or images: an array ``(n, channels,
                height, width)`` of bytes, of fractions in [0, 1] or of any other finite numbers.
            y: a target for every row. Rows without one (NaN, None) only train: the search then tries regularizers that learn from them too. A class of
                -1 is a class like others; for scikit-learn's mark of unlabeled rows give ``[None if c == -1 else c for c in y]``.
            sample_weight: not negative; rows of weight 0 are left out.
            X_val: rows that validate instead of an internal split, with the columns of X, or images of its shape. They are never trained on.
            y_val: their targets.
            groups: a value for every row; rows with the same one train or validate together, as those of one person should.

        Returns:
            the estimator itself.

        Raises:
            ConfigError: parameters that cannot work.
            DataError, ValueError, TypeError: data that cannot be used.
            KeyboardInterrupt: Ctrl-C; after the first check the estimator is fitted with the best so far all the same.
        """
        recipe = self._recipe()
        effort = self._effort()
        searched = self._searched(recipe, X_val, y_val, groups)
        given = self._given(X, y, sample_weight, groups)
        rows, target, known, weight = given.rows, given.target, given.known, given.weight
        task = self._fit_target(target, weight) if known is None else self._fit_target(target[known], None if weight is None else weight[known])
        metric = self._metric(task)
        split = None
        if searched:
            y_all = self._encode_target(target)
            split = validation_rows(y_all, task, seed=effort.seed, fraction=self.validation_fraction, labeled=known, groups=given.groups)
        self.encoder_ = fit_encoder(rows, learned_rows(split), backbone_of(self.backbone, type(self).__name__))
        self._plain = self.model is not None and not is_table(X) and not self.encoder_.categorical
        data = self._dataset(rows, target, self._weights_of_all(target, weight, known), task, known)
        held = None if X_val is None else self._held(X_val, y_val, task)
        if recipe is not None:
            seed = None if self.random_state is None else effort.seed
            settings: dict[str, Any] = {"memory": effort.memory, "device": effort.device, "precision": effort.precision}
            return self._finished(train_recipe(recipe, data, held, metric, build=self.model, seed=seed, **settings))
        if held is not None:
            split = given_rows(len(data), len(held))
            data = concatenate(data, held)
        asked: dict[str, Any] = {"cocktail": self.cocktail, "build": self.model, "use": self.use, "without": self.without, "space": self.space}
        return self._finished(train(data, split, metric, effort, keep_apart=held is not None, groups=given.groups, **asked))

    def _searched(self, recipe: Recipe | None, X_val: Any, y_val: Any, groups: Any) -> bool:
        """Whether some of the rows of X validate."""
        if X_val is not None and self.validation_fraction is not None:
            raise ConfigError("Expected either `validation_fraction` or `X_val`, got both. Set validation_fraction=None to validate on X_val.")
        if (X_val is None) != (y_val is None):
            raise ConfigError("Expected `X_val` and `y_val` together, got one of them. Give both, or neither.")
        searched = X_val is None and recipe is None and (self.early_stopping or self.cocktail is None)
        if groups is not None and not searched:
            why = "`X_val`" if X_val is not None else "a recipe" if recipe is not None else "early_stopping=False"
            raise ConfigError(f"Expected no `groups` with {why}, where no row of X validates, got groups. Leave them out.")
        return searched

    def _given(self, X: Any, y: Any, sample_weight: Any, groups: Any) -> _Given:
        """The rows to learn from, checked, without those of weight 0."""
        rows = checked(self, X, reset=True)
        given, known = known_targets(y)
        if known is not None and not known.any():
            raise DataError("Expected known values in `y`, got only missing ones. Give some rows a target.")
        target = self._checked_target(given) if known is None else _spread(self._checked_target(given), known)
        check_consistent_length(rows, target)
        codes = None if groups is None else group_codes(groups, len(target))
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        if weight is None or weight.all():
            return _Given(rows, target, known, weight, codes)
        kept = np.flatnonzero(weight)
        known = None if known is None or known[kept].all() else known[kept]
        return _Given(taken(rows, kept), target[kept], known, weight[kept], None if codes is None else codes[kept])

    def _held(self, X: Any, y: Any, task: str, named: tuple[str, str] = ("X_val", "y_val")) -> Dataset:
        """Rows that are not trained on, such as those that validate instead of an internal split."""
        given, known = known_targets(y)
        if known is not None:
            raise DataError(f"Expected a target for every row of `{named[0]}`, got missing ones in `{named[1]}`. Drop these rows, or give them to fit.")
        rows, target = checked(self, X, reset=False), self._checked_target(given)
        check_consistent_length(rows, target)
        return self._dataset(rows, target, self._weights(target, None), task, named=named[1])

    def _held_out(self, X: Any, y: Any) -> Dataset:
        assert self._basis is not None
        return self._held(X, y, str(self._basis.data.task), ("X", "y"))

    def _recipe(self) -> Recipe | None:
        """The recipe, if one is given.

        Raises:
            ConfigError: it cannot be read, or another parameter says what it says.
        """
        if self.recipe is None:
            return None
        said = {"cocktail": None, "steps": None, "epochs": None, "batch_size": None, "lr": None, "validation_fraction": None, "refits": 1}
        said |= {"use": (), "without": (), "early_stopping": True, "space": None}
        for name, default in said.items():
            given = getattr(self, name)
            if given is not default and given != default and (default != () or len(given)):
                mend = "The recipe says how to train; change it in its dict instead."
                raise ConfigError(expected(name, type(self).__name__, "to be left out with a recipe", given, mend))
        return Recipe.of(self.recipe)

    def _checked_target(self, y: Any) -> np.ndarray:
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        array = _check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y", estimator=self)
        return self._shape_target(array.toarray() if hasattr(array, "toarray") else array)

    def _weights_of_all(self, target: np.ndarray, weight: np.ndarray | None, known: np.ndarray | None) -> np.ndarray | None:
        """Weights of all rows; those without a target keep their own."""
        if known is None:
            return self._weights(target, weight)
        own = self._weights(target[known], None if weight is None else weight[known])
        if own is None:
            return None
        out = np.ones(len(target)) if weight is None else weight.astype(np.float64)
        out[known] = own
        return out

    def _dataset(self, rows: Rows, target: np.ndarray, weight: np.ndarray | None, task: str, known: np.ndarray | None = None, named: str = "y") -> Dataset:
        weights = None if weight is None else torch.from_numpy(weight.astype(np.float32))
        labeled = None if known is None else torch.from_numpy(known)
        return Dataset(encoded(self.encoder_, rows, self._plain), self._encode_target(target, named), task, weights, labeled, self._cardinalities)

    # Predict

    def _outputs(self, X: Any, task: str) -> np.ndarray:
        """Probabilities or standardized values ``(n, outputs)``."""
        return self._predicted(X, criterion_for(task)).double().numpy()


def _spread(target: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Known targets in the places of all rows; what stands in the others is never read."""
    out = np.repeat(target[:1], len(known), axis=0)
    out[known] = target
    return out
