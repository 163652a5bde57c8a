"""Several targets of different kinds by one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import r2_score
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from temperance.core.ambient import plainly
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import BY_TASK, Heads
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.renamed import renamed
from temperance.data import TargetEncoder
from temperance.data.dataset import Dataset
from temperance.data.groups import group_codes
from temperance.data.messages import listing
from temperance.data.read import read_cells
from temperance.estimators.base import SearchedEstimator
from temperance.estimators.inputs import checked, encoded, fit_encoder, is_table
from temperance.estimators.regressor import R2
from temperance.estimators.rows import learned_rows, rows_of_heads
from temperance.estimators.training import train
from temperance.nets import build_seeded
from temperance.train.metrics import heads_metric

KINDS = ("classification", "regression")


class TemperanceMultiTask(SearchedEstimator):
    r"""One neural network for several targets of different kinds, with a cocktail of regularizers that is searched or given.

    The lower layers are shared; every target has a head of its own: a hidden layer of half the width, then its outputs. Targets may be missing, each in other
    rows. The loss is :math:`J = \sum_t w_t J_t`, with J_t the mean loss of target t over the rows of a minibatch that have it: cross-entropy of classes, the
    squared error of standardized values. Cocktails, early stopping and the search are judged by the mean over targets of the accuracy of classes and the R2
    of values. The rest is as in :class:`~temperance.TemperanceClassifier`: rows validate in folds or a hold-out, in which classes and gaps of all targets are
    alike, and the best network is trained again on all rows.

    Args:
        cocktail: a :class:`~temperance.Cocktail` to train with, or ``None`` to search one.
        model: ``build(data) -> nn.Module`` for a network of your own, which returns a dict with an output for every column of y; the heads' widths are
            ``data.y[column].shape[1]``. See :class:`~temperance.nets.MultiHead`.
        tasks: ``"classification"`` or ``"regression"`` for columns whose kind is not to be guessed. By default text, booleans and few different whole
            numbers are classes, other numbers are values.
        task_weights: weights :math:`w_t` of the losses by column, 1 for columns that are not named. They decide for whom the shared layers are made; the
            head of a target itself learns as fast with a small weight, since Adam divides by the size of its gradients.
        trials: how many cocktails the search tries.
        steps: steps of a full training run of the search; or give ``epochs``. By the number of rows if both are ``None``: below 500 rows 40 epochs.
        epochs: passes over the training rows.
        validation_fraction: share of the rows that validate, for a hold-out instead of folds.
        refits: networks of the final training, from different seeds, whose predictions are averaged.
        use: regularizers to search over beside the default ones, by name or as objects.
        without: names of regularizers to leave out of the search.
        batch_size: rows per step; by the number of rows if ``None``.
        lr: peak learning rate; searched if ``None`` (with a given cocktail: the network's usual one).
        early_stopping: ``False`` trains the final network for the planned length. A search still validates, to choose the cocktail.
        memory: what a population may plan for, such as ``"4G"``.
        random_state: a whole number is the seed of everything. ``None`` and a ``RandomState`` draw the seed.
        verbose: 1 prints the course of the search.
        recipe: only ``None``. A recipe's networks have one target; give its cocktail: ``TemperanceMultiTask(tp.load(DIR).cocktail)``.
        device: where networks train: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one. The fitted networks are on
            the processor in any case.
        precision: ``"bf16"`` for products of 16 bits in training, with parameters, moments and losses as they are.

    Attributes:
        tasks_: the kind of every column.
        classes_: the sorted classes of every column that has classes.
        targets_: the :class:`~temperance.data.TargetEncoder` of every column, with mean and standard deviation of values in the rows that have them.
        model_: a plain ``nn.Module`` that returns logits and standardized values in a dict.
        encoder_: the :class:`~temperance.data.TableEncoder` that makes its inputs; of images as in :class:`~temperance.TemperanceClassifier`.
        cocktail_: the regularizers that are on.
        search_: a :class:`~temperance.estimators.Report`.
        best_score_: the mean score on the validation rows, the mean over folds.
        history_: every check of the winner and of the final training.
        n_iter_: steps of the final training.
        n_features_in_: number of columns of X.

    Source:
        Caruana, *Multitask learning* (1997).

    Example:
        >>> import temperance as tp
        >>> X = pd.DataFrame({"size": np.arange(40.0), "old": [0.0, 1.0] * 20})
        >>> Y = pd.DataFrame({"kind": ["cat", "dog"] * 20, "weight": 10 + X["size"]})
        >>> Y.loc[:9, "kind"] = None
        >>> made = TemperanceMultiTask(tp.Cocktail(tp.WeightDecay(0.01)), random_state=0).fit(X, Y)
        >>> made.tasks_
        {'kind': 'classification', 'weight': 'regression'}
        >>> made.predict(X[:2])["kind"].tolist(), bool(made.score(X, Y) > 0.8)
        (['cat', 'dog'], True)
    """

    tasks_: dict[Any, str]
    classes_: dict[Any, np.ndarray]
    targets_: dict[Any, TargetEncoder]

    @renamed(learning_rate="lr")
    def __init__(
        self,
        cocktail: Cocktail | None = None,
        *,
        model: Callable[[Dataset], nn.Module] | None = None,
        tasks: Mapping[Any, str] | None = None,
        task_weights: Mapping[Any, float] | None = None,
        trials: int = 16,
        steps: int | None = None,
        epochs: float | None = None,
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
        recipe: None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__(
            cocktail,
            model=model,
            trials=trials,
            steps=steps,
            epochs=epochs,
            validation_fraction=validation_fraction,
            refits=refits,
            use=use,
            without=without,
            batch_size=batch_size,
            lr=lr,
            early_stopping=early_stopping,
            memory=memory,
            random_state=random_state,
            verbose=verbose,
            recipe=recipe,
            device=device,
            precision=precision,
        )
        self.tasks = tasks
        self.task_weights = task_weights

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.required = True
        return tags

    @plainly
    @renamed(Y="y")
    def fit(self, X: Any, y: Any, groups: Any = None) -> TemperanceMultiTask:
        """Search a cocktail, or train with the given one, and keep a plain network.

        Args:
            X: rows: an array of numbers (NaN is missing), or a frame with numbers, text, categories, booleans and dates. Or images ``(n, channels, height,
                width)``, with a ``model``.
            y: a frame or a dict with a column for every target. NaN and ``None`` are missing; rows without any target only train.
            groups: a value for every row; rows with the same one train or validate together.

        Raises:
            ConfigError: parameters that cannot work.
            DataError, ValueError, TypeError: data that cannot be used.
        """
        if self.recipe is not None:
            mend = "The networks of a recipe have one target. Give its cocktail instead: TemperanceMultiTask(tp.load(DIR).cocktail)."
            raise ConfigError(expected("recipe", type(self).__name__, "to be None", self.recipe, mend))
        effort = self._effort()
        if groups is not None and not (self.early_stopping or self.cocktail is None):
            raise ConfigError("Expected no `groups` with early_stopping=False, where no row validates, got groups. Leave them out.")
        rows = checked(self, X, reset=True)
        if self.model is None and not isinstance(rows, pd.DataFrame):
            mend = "Give build(data) -> nn.Module, for example with temperance.nets.MultiHead."
            raise ConfigError(expected("model", type(self).__name__, "to be a function for images", None, mend))
        columns, table = _columns(y)
        check_consistent_length(rows, table)
        kinds = self._named("tasks", self.tasks, columns)
        weights = self._named("task_weights", self.task_weights, columns)
        for column, kind in kinds.items():
            if kind not in KINDS:
                raise ConfigError(expected(f"tasks[{column!r}]", type(self).__name__, f"to be one of {', '.join(map(repr, KINDS))}", kind))
        for column, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, Real) or not 0 < float(weight) < float("inf"):
                raise ConfigError(expected(f"task_weights[{column!r}]", type(self).__name__, "in (0, inf)", weight, "Leave out columns that should not count."))
        names = [str(column) for column in columns]
        targets = {name: TargetEncoder().fit(table[name], kinds.get(column), name, least=1) for column, name in zip(columns, names, strict=True)}
        task: dict[str, str] = {name: target.task for name, target in targets.items()}
        y, labeled = encoded_targets(table, targets)
        split, codes = None, None if groups is None else group_codes(groups, len(table))
        if self.early_stopping or self.cocktail is None:
            split = rows_of_heads(y, task, labeled, seed=effort.seed, fraction=self.validation_fraction, groups=codes)
        self.encoder_ = fit_encoder(rows, learned_rows(split))
        self._plain = self.model is not None and not is_table(X) and not self.encoder_.categorical
        data = Dataset(encoded(self.encoder_, rows, self._plain), y, task, None, labeled, self._cardinalities)
        self._columns, self.targets_ = columns, {column: targets[str(column)] for column in columns}
        self.tasks_ = {column: targets[str(column)].task for column in columns}
        self.classes_ = {column: _classes(target) for column, target in self.targets_.items() if target.task == "classification"}
        self._loss = Heads(tuple((str(column), BY_TASK[task[str(column)]], float(weights.get(column, 1.0))) for column in columns))
        if self.model is not None:
            _check_heads(build_seeded(lambda: self.model(data), 0), data)  # pyright: ignore[reportOptionalCall] -- it is not None
        made = train(
            data,
            split,
            heads_metric(task, {name: R2 for name, kind in task.items() if kind == "regression"}),
            effort,
            cocktail=self.cocktail,
            build=self.model,
            use=self.use,
            without=self.without,
            criterion=self._loss,
            groups=codes,
        )
        return self._finished(made)

    def _held_out(self, X: Any, y: Any) -> Dataset:
        table = self._targets_of(y)
        rows = checked(self, X, reset=False)
        check_consistent_length(rows, table)
        targets, labeled = encoded_targets(table, {str(column): self.targets_[column] for column in self._columns})
        task: dict[str, str] = {str(column): kind for column, kind in self.tasks_.items()}
        return Dataset(encoded(self.encoder_, rows, self._plain), targets, task, None, labeled, self._cardinalities)

    def _targets_of(self, y: Any) -> pd.DataFrame:
        """The targets as a plain frame, in the columns that were fitted.

        Raises:
            DataError: other columns.
        """
        columns, table = _columns(y)
        if set(columns) != set(self._columns):
            wanted, got = listing(map(str, self._columns)), listing(map(str, columns))
            raise DataError(f"Expected the columns {wanted} in `y` as fitted, got {got}. Give the same targets.")
        return table

    def _named(self, name: str, given: Any, columns: Sequence[Any]) -> dict[Any, Any]:
        """A parameter by column, whose names are those of y."""
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            raise ConfigError(expected(name, type(self).__name__, "to be a dict by column of y, or None", given))
        strange = [column for column in given if column not in columns]
        if strange:
            raise ConfigError(expected(name, type(self).__name__, f"to name columns of y ({listing(map(str, columns))})", strange[0]))
        return dict(given)

    # Predict

    def _outputs(self, X: Any) -> dict[Any, np.ndarray]:
        """Probabilities or standardized values ``(n, outputs)`` by column."""
        check_is_fitted(self, "model_")
        found = self._predicted(X, self._loss)
        return {column: found[str(column)].double().numpy() for column in self._columns}

    def predict(self, X: Any) -> pd.DataFrame:
        """Classes in their own type and values in their own units, in the columns of y; rows have the index of X where it is a frame."""
        decoded = {column: self.targets_[column].decode(out) for column, out in self._outputs(X).items()}
        return pd.DataFrame(decoded, index=X.index if isinstance(X, pd.DataFrame) else None)

    def predict_proba(self, X: Any) -> dict[Any, np.ndarray]:
        """Probabilities ``(n, classes)`` in the order of ``classes_``, for every column that has classes."""
        return {column: out / out.sum(axis=1, keepdims=True) for column, out in self._outputs(X).items() if column in self.classes_}

    @renamed(Y="y")
    def score(self, X: Any, y: Any) -> float:
        """The mean over columns of the accuracy of classes and the R2 of values, each on the rows that have the target.

        Raises:
            DataError: other columns than those fitted, a class that was not there when fitting, or no known target.
        """
        outputs = self._outputs(X)
        table = self._targets_of(y)
        check_consistent_length(next(iter(outputs.values())), table)
        scores: list[float] = []
        for column, out in outputs.items():
            target = self.targets_[column]
            y, marks = target.encode(table[str(column)])
            known = np.ones(len(table), bool) if marks is None else marks.numpy()
            if not known.any():
                continue
            truth = y.numpy()[known]
            correct = target.task == "classification"
            scores.append(float((out[known].argmax(1) == truth.argmax(1)).mean()) if correct else float(r2_score(truth, out[known])))
        if not scores:
            raise DataError("Expected known values in `y`, got only missing ones. Give some rows a target.")
        return float(np.mean(scores))


def _columns(y: Any) -> tuple[list[Any], pd.DataFrame]:
    """The labels of the targets, and the targets as a plain frame with text labels."""
    if not isinstance(y, Mapping) and not is_table(y):
        mend = "For a single target use TemperanceClassifier or TemperanceRegressor."
        raise DataError(f"Expected `y` to be a frame or a dict with a column for every target, got {type(y).__name__}. {mend}")
    columns = list(y) if isinstance(y, Mapping) else list(y.columns)
    return columns, read_cells(dict(y) if isinstance(y, Mapping) else y, what="y")[0]


def encoded_targets(table: pd.DataFrame, targets: Mapping[str, TargetEncoder]) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The targets, and which are known (``None``: all)."""
    y: dict[str, Tensor] = {}
    labeled: dict[str, Tensor] = {}
    for name, target in targets.items():
        y[name], known = target.encode(table[name])
        labeled[name] = torch.ones(len(table), dtype=torch.bool) if known is None else known
    gaps = any(not known.all() for known in labeled.values())
    return y, labeled if gaps else None


def _classes(target: TargetEncoder) -> np.ndarray:
    """The classes in their own type, in the order of the outputs."""
    return target.decode(np.eye(target.outputs))


def _check_heads(network: Any, data: Dataset) -> None:
    """Refuse a network whose outputs are not those of the targets.

    Raises:
        ConfigError: no dict, or other heads or widths.
    """
    assert isinstance(data.y, dict)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"Expected `model` to return an nn.Module, got {type(network).__name__}.")
    with torch.no_grad():
        out = network.eval()(data.take([0, 1]).x)
    wanted = {name: int(y.shape[1]) for name, y in data.y.items()}
    got = {name: int(leaf.shape[-1]) for name, leaf in out.items()} if isinstance(out, dict) else f"a {type(out).__name__}"
    if got != wanted:
        mend = "See temperance.nets.MultiHead."
        raise ConfigError(f"Expected the network of `model` to return a dict of outputs with the widths {wanted}, got {got}. {mend}")
