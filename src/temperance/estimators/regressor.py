"""The regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from torch import Tensor

from temperance.core.errors import DataError
from temperance.estimators.base import TemperanceEstimator
from temperance.train.metrics import Metric, metric_for


def _share_explained(p: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """One less the mean squared error of standardized targets, whose variance over all rows is one."""
    return 1.0 - ((p - y).square().mean(-1) * w).sum(-1) / w.sum(-1)


R2 = Metric("r2", True, 1.0, ("regression",), _share_explained)


class TemperanceRegressor(RegressorMixin, TemperanceEstimator):
    """A neural network for one or several values, with a cocktail of regularizers that is searched or given.

    Without a cocktail, ``trials`` of them are drawn, trained as populations and validated, and the best one is trained again on all rows for
    as many epochs as were best (``same_epochs``). With a cocktail one network is validated, stopped early and trained again likewise. Rows
    validate in 5 folds, or from 1,500 rows on in a hold-out; none is kept apart for testing. The effort is counted in trials and steps and
    never in seconds, so the same ``random_state`` gives the same model. Targets are standardized with the (weighted) mean and standard
    deviation of the training rows, and predictions come in the units of y.

    X of four dimensions is images ``(n, channels, height, width)``: bytes, fractions in [0, 1] or any finite numbers, standardized channel by
    channel with the means and standard deviations of the training rows (of a hold-out those that do not validate). Predict images with the
    numbers they were fitted with; after fractions in [0, 1], bytes (``uint8``) are divided by 255. The search tries an MLP on the pixels and,
    where images and rows are not too many, a small convolutional network, and changes the images among its regularizers; a given cocktail
    trains the latter of these networks.

    Args:
        cocktail: a :class:`~temperance.Cocktail` to train with, or ``None`` to search one.
        model: ``build(data) -> nn.Module`` for a network of your own. ``data.x`` is a tensor where X is an array of numbers, and
            ``{"num", "cat"}`` where it is a table; ``data.in_features``, ``data.cardinalities`` and ``data.out_features`` give the sizes, of
            images ``data.in_shape``.
        trials: how many cocktails the search tries.
        steps: steps of a full training run of the search; or give ``epochs``. By the number of rows if both are ``None``: below 500 rows
            40 epochs.
        epochs: passes over the training rows.
        metric: ``"r2"`` (default; against the variance of all rows, so that small folds can be averaged), ``"rmse"`` or ``"mae"``.
        validation_fraction: share of the rows that validate, for a hold-out instead of folds.
        refits: networks of the final training, from different seeds, whose predictions are averaged.
        use: regularizers to search over beside the default ones, by name or as objects.
        without: names of regularizers to leave out of the search; ``"neighbors"``: the networks that keep training rows.
        batch_size: rows per step; by the number of rows if ``None``.
        lr: peak learning rate; searched if ``None`` (with a given cocktail: the network's usual one).
        early_stopping: ``False`` trains the final network for the planned length. A search still validates, to choose the cocktail.
        memory: what a population may plan for, such as ``"4G"``. The batched groups follow from it, never from free memory.
        random_state: a whole number is the seed of everything. ``None`` and a ``RandomState`` draw the seed, ``None`` from NumPy's global
            generator; torch's generators are not used.
        verbose: 1 prints the course of the search.
        recipe: the folder of a fit, its ``cocktail.json`` or a dict: nothing is searched, its networks are trained on all rows, with its
            regularizers, optimizer, epochs and batch size, in the sizes of these rows. With ``random_state=None`` its own seeds are used.
        device: where networks train: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one. The fitted networks are on
            the processor in any case.
        precision: ``"bf16"`` for products of 16 bits in training, with parameters, moments and losses as they are.
        backbone: a network that has learned from other images, without its last layer, or ``"timm:NAME"``: every image passes through it once, and the
            search is over networks that read its features. It sees fractions in [0, 1], is not trained, and is a part of the fitted estimator.

    Attributes:
        model_: a plain ``nn.Module`` that returns standardized values.
        encoder_: the :class:`~temperance.data.TableEncoder` that makes its inputs; of images an encoder with their ``shape``, and ``mean``
            and ``sd`` of every channel.
        target_mean_: mean of every target; a value is ``target_mean_ + target_scale_ * output``.
        target_scale_: standard deviation of every target, 1 where it is constant.
        cocktail_: the regularizers that are on.
        search_: a :class:`~temperance.estimators.Report`: every trial, the winner, the split.
        best_score_: the metric on the validation rows, the mean over folds; rmse and mae of several targets in standard deviations.
        history_: every check of the winner (``run == "validation"``) and of the final training (``run == "final"``), in standardized values.
        n_iter_: steps of the final training.
        n_features_in_: number of columns, ``X.shape[1]``; of images that is the number of channels, and ``encoder_.shape`` is the whole shape.
        feature_names_in_: their names, where X had names.

    Example:
        >>> import temperance as tp
        >>> X = np.random.default_rng(0).normal(size=(60, 2))
        >>> y = 100 + 10 * X[:, 0]
        >>> regressor = TemperanceRegressor(tp.Cocktail(tp.WeightDecay(0.01)), random_state=0).fit(X, y)
        >>> regressor.score(X, y) > 0.9, regressor.predict(X[:2]).shape
        (True, (2,))
    """

    target_mean_: np.ndarray
    target_scale_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _shape_target(self, y: np.ndarray) -> np.ndarray:
        values = np.asarray(y, dtype=np.float64)
        return column_or_1d(values, warn=True) if values.ndim == 2 and values.shape[1] == 1 else values

    def _fit_target(self, y: np.ndarray, weight: np.ndarray | None) -> str:
        self._single = y.ndim == 1
        columns = y.reshape(len(y), -1)
        mean = np.average(columns, axis=0, weights=weight)
        sd = np.sqrt(np.average((columns - mean) ** 2, axis=0, weights=weight))
        constant = (columns == columns[0]).all(axis=0)
        self.target_mean_, self.target_scale_ = np.where(constant, columns[0], mean), np.where(constant | (sd == 0), 1.0, sd)
        return "regression"

    def _encode_target(self, y: np.ndarray, named: str = "y") -> Tensor:
        columns = y.reshape(len(y), -1)
        if columns.shape[1] != len(self.target_mean_):
            raise DataError(f"Expected `{named}` with {len(self.target_mean_)} outputs as fitted, got {columns.shape[1]}. Give the same targets.")
        return torch.from_numpy(((columns - self.target_mean_) / self.target_scale_).astype(np.float32))

    def _metric(self, task: str) -> Metric:
        found = metric_for(self.metric, task)
        return R2 if found.name == "r2" else found

    def _shown_score(self, score: float) -> float:
        single = self.search_.metric != "r2" and len(self.target_scale_) == 1
        return score * float(self.target_scale_[0]) if single else score

    def predict(self, X: Any) -> np.ndarray:
        """Values in the units of y: ``(n,)``, or ``(n, outputs)`` for several targets."""
        out = self._outputs(X, "regression") * self.target_scale_ + self.target_mean_
        return out[:, 0] if self._single else out
