"""The classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch import Tensor, nn

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.regularizer import Regularizer
from temperance.core.renamed import renamed
from temperance.data.dataset import Dataset
from temperance.data.messages import shown
from temperance.estimators.base import TemperanceEstimator
from temperance.search.kadra import METRIC
from temperance.train.metrics import Metric, metric_for

_EPS = 1e-7


class TemperanceClassifier(ClassifierMixin, TemperanceEstimator):
    """A neural network for classes or labels, with a cocktail of regularizers that is searched or given.

    Without a cocktail, ``trials`` of them are drawn, trained as populations and validated, and the best one is trained again on all rows for
    as many epochs as were best (``same_epochs``). With a cocktail one network is validated, stopped early and trained again likewise. Rows
    validate in 5 folds, or from 1,500 rows on in a hold-out; none is kept apart for testing. The effort is counted in trials and steps and
    never in seconds, so the same ``random_state`` gives the same model.

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
        metric: ``"accuracy"`` (default), ``"balanced_accuracy"``, ``"log_loss"``, ``"auc"`` or ``"average_precision"``;
            for labels ``"log_loss"`` (default), ``"accuracy"``, ``"auc"`` or ``"average_precision"``. Weights of rows count.
        class_weight: ``None``, ``"balanced"`` or weights by class; they multiply ``sample_weight``, in validation too.
        validation_fraction: share of the rows that validate, for a hold-out instead of folds.
        refits: networks of the final training, from different seeds, whose probabilities are averaged.
        use: regularizers to search over beside the default ones, by name or as objects.
        without: names of regularizers to leave out of the search; ``"neighbors"``: the networks that keep training rows.
        batch_size: rows per step; by the number of rows if ``None``.
        lr: peak learning rate; searched if ``None`` (with a given cocktail: the network's usual one).
        early_stopping: ``False`` trains the final network for the planned length. A search still validates, to choose the cocktail.
        memory: what a population may plan for, such as ``"4G"``. The batched groups follow from it, never from free memory.
        random_state: a whole number is the seed of everything. ``None`` and a ``RandomState`` draw the seed, ``None`` from NumPy's global
            generator; torch's generators are not used.
        verbose: 1 prints the course of the search.
        space: ``"kadra2021"`` for the networks and regularizers of Kadra et al. (2021) in place of the usual ones
            (:func:`temperance.search.kadra_plans`), for classes in tables. Unless ``metric`` and ``class_weight`` say otherwise,
            ``"balanced_accuracy"`` decides and classes are weighted as by ``"balanced"``.
        recipe: the folder of a fit, its ``cocktail.json`` or a dict: nothing is searched, its networks are trained on all rows, with its
            regularizers, optimizer, epochs and batch size, in the sizes of these rows. With ``random_state=None`` its own seeds are used.
        device: where networks train: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one. The fitted networks are on
            the processor in any case.
        precision: ``"bf16"`` for products of 16 bits in training, with parameters, moments and losses as they are.
        backbone: a network that has learned from other images, without its last layer, or ``"timm:NAME"``: every image passes through it once, and the
            search is over networks that read its features. It sees fractions in [0, 1], is not trained, and is a part of the fitted estimator.

    Attributes:
        classes_: the sorted classes; ``0 ... labels - 1`` for labels.
        model_: a plain ``nn.Module`` that returns logits.
        encoder_: the :class:`~temperance.data.TableEncoder` that makes its inputs; of images an encoder with their ``shape``, and ``mean``
            and ``sd`` of every channel.
        cocktail_: the regularizers that are on.
        search_: a :class:`~temperance.estimators.Report`: every trial, the winner, the split.
        best_score_: the metric on the validation rows, the mean over folds.
        history_: every check of the winner (``run == "validation"``) and of the final training (``run == "final"``).
        n_iter_: steps of the final training.
        n_features_in_: number of columns, ``X.shape[1]``; of images that is the number of channels, and ``encoder_.shape`` is the whole shape.
        feature_names_in_: their names, where X had names.

    Example:
        >>> import pandas as pd, temperance as tp
        >>> X = pd.DataFrame({"age": [20, 30, None, 50] * 5, "job": ["cook", "smith", "smith", None] * 5})
        >>> y = ["no", "yes", "yes", "no"] * 5
        >>> classifier = TemperanceClassifier(tp.Cocktail(tp.WeightDecay(0.01)), random_state=0).fit(X, y)
        >>> classifier.classes_.tolist(), classifier.predict(X[:2]).tolist()
        (['no', 'yes'], ['no', 'yes'])
        >>> classifier.cocktail_
        Cocktail(WeightDecay(lam=0.01))

        Images, here bars of bytes that lie or stand:

        >>> images = np.zeros((40, 1, 6, 6), np.uint8)
        >>> images[0::2, :, 2:4], images[1::2, :, :, 2:4] = 255, 255
        >>> bars = TemperanceClassifier(tp.Cocktail(tp.RandomCrop(1)), epochs=5, random_state=0).fit(images, ["lies", "stands"] * 20)
        >>> bars.predict(images[:2]).tolist(), bars.n_features_in_, bars.encoder_.shape
        (['lies', 'stands'], 1, (1, 6, 6))
    """

    classes_: np.ndarray

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
        class_weight: str | Mapping[Any, float] | None = None,
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
        space: str | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
        backbone: nn.Module | str | None = None,
    ) -> None:
        super().__init__(
            cocktail,
            model=model,
            trials=trials,
            steps=steps,
            epochs=epochs,
            metric=metric,
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
            backbone=backbone,
        )
        self.class_weight = class_weight
        self.space = space

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def _shape_target(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            mend = "Fit one classifier a column, for example with sklearn.multioutput.MultiOutputClassifier."
            raise DataError(f"Expected one column of classes, or columns of 0 and 1, in `y`, got {y.shape[1]} columns of classes. {mend}")
        return y if kind == "multilabel-indicator" else column_or_1d(y, warn=True)

    def _fit_target(self, y: np.ndarray, weight: np.ndarray | None) -> str:
        if y.ndim == 2:
            if self.class_weight is not None:
                raise ConfigError(expected("class_weight", type(self).__name__, "to be None for columns of labels", self.class_weight, "Use sample_weight."))
            self.classes_ = np.arange(y.shape[1])
            self._task = "multilabel"
            return self._task
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            rows = " in the rows of positive weight" if weight is not None else ""
            raise DataError(f"Expected at least two classes in `y`{rows}, got one class: {shown(self.classes_[0])}. Add rows of another class.")
        self._task = "classification"
        return self._task

    def _encode_target(self, y: np.ndarray, named: str = "y") -> Tensor:
        if self._task == "multilabel":
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise DataError(f"Expected `{named}` with {len(self.classes_)} labels as fitted, got shape {y.shape}. Give the same labels.")
            return torch.from_numpy(y.astype(np.float32))
        unseen = np.setdiff1d(y, self.classes_)
        if len(unseen):
            raise DataError(f"Expected the classes of the fitted `y` in `{named}`, got {shown(unseen[0])}. Drop these rows, or fit with rows of this class.")
        codes = np.searchsorted(self.classes_, y)
        return torch.from_numpy(np.eye(len(self.classes_), dtype=np.float32)[codes])

    def _metric(self, task: str) -> Metric:
        return metric_for(METRIC if self.metric is None and self.space is not None and task == "classification" else self.metric, task)

    def _weights(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        balance = "balanced" if self.class_weight is None and self.space is not None and self._task == "classification" else self.class_weight
        if balance is None:
            return weight
        by_class = compute_sample_weight(balance, y)
        return by_class if weight is None else by_class * weight

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes ``(n, classes)`` in the order of ``classes_``; for labels the probability of each ``(n, labels)``."""
        p = self._outputs(X, getattr(self, "_task", "classification"))
        return np.clip(p, _EPS, 1 - _EPS) if self._task == "multilabel" else p / p.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of every row ``(n,)``; for labels 0 or 1 ``(n, labels)``."""
        p = self.predict_proba(X)
        return (p > 0.5).astype(np.int64) if self._task == "multilabel" else self.classes_[p.argmax(axis=1)]
