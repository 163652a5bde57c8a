"""Ways out of messages in training, searching, examining and the estimators."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.multioutput import MultiOutputClassifier
from sklearn.svm import SVC
from tests.ways.harness import Way, check, way
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.registry import lookup
from temperance.search.budget import parse_budget
from temperance.search.search import search
from temperance.search.space import chosen_regularizers

N = 24
G = np.random.default_rng(0)
X, Y = G.normal(size=(N, 4)).astype(np.float32), np.arange(N) % 2
VALUES = G.normal(size=N)
DATA = tp.data.as_dataset(X, Y)
IMAGES = G.integers(0, 255, (N, 1, 6, 6)).astype(np.uint8)


def net(outputs: int = 2, *more: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), *more, nn.Linear(6, outputs))


def fit(*regularizers: Any, model: nn.Module | None = None, data: Any = None, **settings: Any) -> Any:
    """One step with them."""
    done = tp.fit(net() if model is None else model, tp.Cocktail(*regularizers), DATA if data is None else data, **{"validation": None, "steps": 1, **settings})
    assert done.model is not None
    return done


class Drawing(nn.Module):
    """A layer and noise of its own."""

    def __init__(self, noise: Any) -> None:
        super().__init__()
        self.layer, self.noise = nn.Linear(4, 2), noise

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.noise(x))


class Recurrent(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.cells, self.out, self.act = nn.GRU(4, 3, num_layers=2, dropout=dropout, batch_first=True), nn.Linear(3, 2), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.cells(x[:, None])[0][:, -1]))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x), x


class First(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


def own(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y)


def searched(**settings: Any) -> Any:
    build = lambda data: nn.Linear(data.in_features, data.out_features)  # noqa: E731
    return search(build, (X, Y), **{"trials": 2, "epochs": 1, "seeds": 1, "ensemble": 1, "use": ["L2"], **settings})


def classifier(X: Any = X, y: Any = Y, val: Any = (None, None), weight: Any = None, **settings: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tp.TemperanceClassifier(**{"cocktail": tp.Cocktail(), "steps": 1, "random_state": 0, "early_stopping": False, **settings}).fit(
            X, y, weight, *val
        )


def regressor(X: Any = X, y: Any = VALUES, val: Any = (None, None), **settings: Any) -> Any:
    return tp.TemperanceRegressor(**{"cocktail": tp.Cocktail(), "steps": 1, "random_state": 0, "early_stopping": False, **settings}).fit(X, y, None, *val)


def multitask(Y: Any = None, X: Any = X, **settings: Any) -> Any:
    Y = {"kind": np.where(VALUES > 0, "b", "a"), "size": VALUES} if Y is None else Y
    return tp.TemperanceMultiTask(**{"cocktail": tp.Cocktail(), "steps": 1, "random_state": 0, "early_stopping": False, **settings}).fit(X, Y)


@cache
def of_columns() -> Any:
    return classifier()


@cache
def of_images() -> Any:
    return classifier(IMAGES)


@cache
def of_several() -> Any:
    return multitask()


def heads(data: Any) -> nn.Module:
    return tp.nets.MultiHead(nn.Flatten(), 36, {name: y.shape[1] for name, y in data.y.items()}, ())


TRAINING: dict[str, Way] = {
    "no data set": way(
        lambda: tp.fit(net(), tp.Cocktail(), cast(Any, X)),
        "tp.data.as_dataset(X, y) and tp.data.table_dataset(frame, target) make one.",
        lambda: fit(data=tp.data.as_dataset(X, Y)),
        lambda: fit(data=(X, Y)),
        lambda: fit(model=tp.nets.TabularNet(1, (), 2), data=tp.data.table_dataset({"x": VALUES, "y": Y.astype(str)}, "y")[0]),
    ),
    "a loss of one's own with weights": way(
        lambda: fit(data=tp.data.as_dataset(X, Y, weight=np.ones(N)), criterion=own),
        "Use a loss of temperance, or leave these out.",
        lambda: fit(data=tp.data.as_dataset(X, Y, weight=np.ones(N)), criterion=tp.losses.SoftmaxCrossEntropy()),
        lambda: fit(criterion=own),
    ),
    "a loss without a soft form": way(
        lambda: fit(criterion=nn.MultiMarginLoss()),
        "Use nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss(), or attach the cocktail to a loop of your own.",
        lambda: fit(criterion=nn.CrossEntropyLoss()),
        lambda: fit(criterion=nn.BCEWithLogitsLoss(), data=tp.data.as_dataset(X, np.stack([Y, 1 - Y], 1))),
        lambda: fit(criterion=nn.MSELoss(), model=net(1), data=tp.data.as_dataset(X, VALUES)),
        lambda: tp.Cocktail().attach(m := net(), torch.optim.SGD(m.parameters()), nn.MultiMarginLoss()).loss(torch.from_numpy(X), torch.from_numpy(Y)),
    ),
    "rows to be ignored": way(
        lambda: fit(criterion=nn.CrossEntropyLoss(ignore_index=1)),
        "Leave it out, and mark these rows in Dataset(labeled=...).",
        lambda: fit(criterion=nn.CrossEntropyLoss(), data=tp.data.Dataset(DATA.x, DATA.y, "classification", labeled=torch.from_numpy(Y == 0))),
    ),
    "no reduction": way(
        lambda: fit(criterion=nn.CrossEntropyLoss(reduction="none")),
        "Use 'mean'; weights of rows are given as `weight`, to reg.loss or with the data.",
        lambda: fit(criterion=nn.CrossEntropyLoss(reduction="mean"), data=tp.data.as_dataset(X, Y, weight=np.arange(N) + 1.0)),
    ),
    "weights of zero": way(
        lambda: fit(data=tp.data.Dataset(DATA.x, DATA.y, "classification", torch.zeros(N))), "Leave the weights out to count every row once.", lambda: fit()
    ),
    "images of tables": way(
        lambda: fit(tp.RandomCrop(1)),
        "Reshape them, leave it out with --without RandomCrop or take it from the cocktail.",
        lambda: fit(tp.RandomCrop(1), model=nn.Sequential(nn.Flatten(), net()), data=(X.reshape(N, 1, 2, 2), Y)),
        lambda: fit(),
    ),
    "two averages": way(lambda: fit(tp.EMA(0.9), tp.SWA(0.5)), "Leave one out, or off.", lambda: fit(tp.EMA(0.9)), lambda: fit(tp.EMA(0.0), tp.SWA(0.5))),
    "alpha dropout": way(
        lambda: fit(model=net(2, nn.AlphaDropout(0.2))),
        "Leave it out, and put a regularizer of hidden units in the cocktail.",
        lambda: fit(tp.Dropout(0.2)),
    ),
    "dropout of a recurrent layer": way(
        lambda: fit(model=Recurrent(0.5)),
        "Set it to 0 and put a regularizer of hidden units in the cocktail.",
        lambda: fit(tp.Dropout(0.5, where="act"), model=Recurrent(0.0)),
    ),
    "functional dropout": way(
        lambda: fit(model=Drawing(lambda x: F.dropout(x, 0.5))),
        "Use nn.Dropout modules, or a regularizer of hidden units in the cocktail.",
        lambda: fit(model=Drawing(nn.Dropout(0.5))),
        lambda: fit(tp.Dropout(0.5, where="noise"), model=Drawing(nn.Identity())),
    ),
    "nothing to average over": way(
        lambda: tp.train.monte_carlo(net(), tp.Cocktail(tp.L2(0.1)), torch.from_numpy(X), task="classification"),
        "Give one that draws masks or noise in the network: without it every pass is the same.",
        lambda: tp.train.monte_carlo(net(), tp.Cocktail(tp.Dropout(0.5)), torch.from_numpy(X), task="classification", passes=2),
        lambda: tp.train.monte_carlo(net(), tp.Cocktail(tp.WeightNoise(0.1)), torch.from_numpy(X), task="classification", passes=2),
    ),
    "no stack to pretrain": way(
        lambda: tp.train.pretrain(net(), tp.Cocktail(), X),
        "Build it from tp.nets.MLP, or train an autoencoder of your own and give its weights to Member(initial=...).",
        lambda: tp.train.pretrain(tp.nets.MLP(4, 2, hidden=(3,)), tp.Cocktail(), X, epochs=1),
        lambda: tp.fit(net(), [tp.Member(tp.Cocktail(), tp.optim.SGD(0.1), initial=net().state_dict())], DATA, validation=None, steps=1),
    ),
    "rivals that are none": way(
        lambda: tp.learning_curve(net(), tp.Cocktail(), DATA, sizes=[4], rivals=cast(Any, {"SVM": 3})),
        'For example {"SVM": SVC(C=1.0)}.',
        lambda: tp.learning_curve(net(), tp.Cocktail(), DATA, sizes=[12], rivals={"SVM": SVC(C=1.0)}, steps=1, seeds=1),
    ),
    "no bins": way(
        lambda: tp.nets.TabularNet(4, (), 2, numbers="piecewise"),
        "Use `quantile_edges` on training rows.",
        lambda: fit(model=nn.Sequential(Numbers(), tp.nets.TabularNet(4, (), 2, numbers="piecewise", edges=tp.nets.quantile_edges(torch.from_numpy(X), 4)))),
    ),
    "one head": way(
        lambda: tp.nets.TwoHeads(4, {"a": 1}),
        "Use MultiHead for another number.",
        lambda: tp.nets.MultiHead(nn.Linear(4, 3), 3, {"a": 1})(torch.ones(2, 4))["a"],
    ),
    "no branch": way(lambda: tp.nets.Residual(), "For example Residual(nn.Linear(8, 8)).", lambda: tp.nets.Residual(nn.Linear(8, 8))(torch.ones(2, 8))),
    "no width": way(lambda: tp.nets.MLP(4, None, ()), "Give a width.", lambda: tp.nets.MLP(4, None, (3,))(torch.ones(2, 4))),
    # searching
    "a time without a unit": way(
        lambda: parse_budget("five"), "Write it like 90s, 5m or 1h.", *(lambda text=text: parse_budget(text) for text in ("90s", "5m", "1h"))
    ),
    "wanted and not": way(
        lambda: chosen_regularizers([], ["L1"], ["L1"]),
        "Choose one.",
        lambda: chosen_regularizers([], ["L1"], []),
        lambda: chosen_regularizers([tp.L2()], [], ["L1"]),
    ),
    "a name with a slip": way(lambda: lookup("Dropuot"), "Dropout", lambda: lookup("Dropout")),
    "a file of an earlier study": way(lambda: searched(study=__file__), "Choose another name, or remove it.", lambda: searched()),
    # examining
    "one row to examine": way(
        lambda: tp.diagnose(net(), tp.data.as_dataset(X[:1], Y[:1], classes=[0, 1])), "Add rows.", lambda: tp.diagnose(net(), DATA, rows=12)
    ),
    "no weight to examine": way(
        lambda: tp.diagnose(net(), tp.data.Dataset(DATA.x, DATA.y, "classification", torch.zeros(N))),
        "Leave the weights out.",
        lambda: tp.diagnose(net(), DATA, rows=12),
    ),
    "two outputs to attack": way(
        lambda: tp.robustness(Pair(), DATA, eps=0.1), "Wrap it in a module that picks one output.", lambda: tp.robustness(First(Pair()), DATA, eps=0.1, steps=1)
    ),
    "classes in another order": way(
        lambda: tp.robustness(net(3), DATA, eps=0.1),
        "Give the data set with the classes in the order that the network was trained with.",
        lambda: tp.robustness(net(3), tp.data.as_dataset(X, Y, classes=[0, 1, 2]), eps=0.1, steps=1),
    ),
}


class Numbers(nn.Module):
    """Arrays as the numbers of a table."""

    def forward(self, x: Tensor) -> Any:
        return {"num": x, "cat": torch.zeros(len(x), 0, dtype=torch.long)}


ESTIMATORS: dict[str, Way] = {
    "a cocktail that is none": way(
        lambda: classifier(cocktail="L2"),
        "For example Cocktail(L2(1e-4), Dropout(0.2)); None searches one.",
        lambda: classifier(cocktail=tp.Cocktail(tp.L2(1e-4), tp.Dropout(0.2))),
        lambda: classifier(cocktail=None, trials=2, without=("EMA", "SWA", "WeightDecay", "Dropout", "MixUp")),
    ),
    "names beside a cocktail": way(
        lambda: classifier(use=["L1"]),
        "Leave them out, or search with cocktail=None.",
        lambda: classifier(),
        lambda: classifier(cocktail=None, trials=2, use=["L1"]),
    ),
    "steps and epochs": way(
        lambda: classifier(epochs=1), "Set one of them to None.", lambda: classifier(epochs=None), lambda: classifier(epochs=0.2, steps=None)
    ),
    "two ways to validate": way(
        lambda: classifier(validation_fraction=0.3, early_stopping=True, val=(X, Y)),
        "Set validation_fraction=None to validate on X_val.",
        lambda: classifier(validation_fraction=None, early_stopping=True, val=(X, Y)),
    ),
    "rows without targets to validate on": way(
        lambda: classifier(val=(X, None)), "Give both, or neither.", lambda: classifier(val=(X, Y)), lambda: classifier()
    ),
    "targets that are all missing": way(lambda: classifier(y=[None] * N), "Give some rows a target.", lambda: classifier(y=[0, 1, *[None] * (N - 2)])),
    "a gap in what validates": way(
        lambda: classifier(val=(X, [None, *Y[1:].tolist()])),
        "Drop these rows, or give them to fit.",
        lambda: classifier(val=(X[1:], Y[1:])),
        lambda: classifier(np.concatenate([X, X[:1]]), [*Y.tolist(), None], val=(X[1:], Y[1:])),
    ),
    "one class": way(lambda: classifier(y=np.zeros(N, int)), "Add rows of another class.", lambda: classifier()),
    "a class that only validates": way(
        lambda: classifier(val=(X, np.where(Y == 1, 7, 0))),
        "Drop these rows, or fit with rows of this class.",
        lambda: classifier(val=(X[Y == 0], Y[Y == 0])),
        lambda: classifier(np.concatenate([X, X]), np.concatenate([Y, np.where(Y == 1, 7, 0)]), val=(X, np.where(Y == 1, 7, 0))),
    ),
    "other labels in validation": way(
        lambda: classifier(y=np.stack([Y, 1 - Y], 1), val=(X, np.stack([Y, Y, Y], 1))),
        "Give the same labels.",
        lambda: classifier(y=np.stack([Y, 1 - Y], 1), val=(X, np.stack([Y, 1 - Y], 1))),
    ),
    "weights of labels": way(
        lambda: classifier(y=np.stack([Y, 1 - Y], 1), class_weight="balanced"),
        "Use sample_weight.",
        lambda: classifier(y=np.stack([Y, 1 - Y], 1), weight=np.ones(N)),
    ),
    "several columns of classes": way(
        lambda: classifier(y=np.stack([Y, Y + np.arange(N) % 3], 1)),
        "Fit one classifier a column, for example with sklearn.multioutput.MultiOutputClassifier.",
        lambda: MultiOutputClassifier(tp.TemperanceClassifier(tp.Cocktail(), steps=1, random_state=0, early_stopping=False)).fit(
            X, np.stack([Y, Y + np.arange(N) % 3], 1)
        ),
    ),
    "other outputs in validation": way(
        lambda: regressor(val=(X, np.stack([VALUES, VALUES], 1))),
        "Give the same targets.",
        lambda: regressor(val=(X, VALUES)),
        lambda: regressor(y=np.stack([VALUES] * 2, 1), val=(X, np.stack([VALUES] * 2, 1))),
    ),
    "images without channels": way(
        lambda: classifier(IMAGES[:, 0]), "For gray images without channels give X[:, None].", lambda: classifier(IMAGES[:, 0][:, None])
    ),
    "channels at the end": way(
        lambda: classifier(np.repeat(IMAGES, 3, 1).transpose(0, 2, 3, 1)),
        "Give np.moveaxis(X, 3, 1).",
        lambda: classifier(np.moveaxis(np.repeat(IMAGES, 3, 1).transpose(0, 2, 3, 1), 3, 1)),
    ),
    "images where a table was fitted": way(lambda: of_columns().predict(IMAGES), "Give rows with the fitted columns.", lambda: of_columns().predict(X)),
    "a table where images were fitted": way(
        lambda: of_images().predict(IMAGES.reshape(N, 36)), "Reshape X.", lambda: of_images().predict(IMAGES.reshape(N, 36).reshape(N, 1, 6, 6))
    ),
    "an image that is not finite": way(
        lambda: classifier(np.where(np.arange(N)[:, None, None, None] == 3, np.nan, IMAGES / 255)),
        "Correct or drop it.",
        lambda: classifier(IMAGES / 255),
        lambda: classifier(np.delete(IMAGES / 255, 3, 0), np.delete(Y, 3)),
    ),
    # several targets
    "a recipe of one target": way(
        lambda: multitask(recipe="out"),
        "Give its cocktail instead: TemperanceMultiTask(tp.load(DIR).cocktail).",
        lambda: multitask(cocktail=tp.Cocktail.from_dict(tp.Cocktail(tp.L2(0.1)).to_dict())),
    ),
    "images for several targets": way(
        lambda: multitask(X=IMAGES), "Give build(data) -> nn.Module, for example with temperance.nets.MultiHead.", lambda: multitask(X=IMAGES, model=heads)
    ),
    "one array of targets": way(
        lambda: multitask(VALUES),
        "For a single target use TemperanceClassifier or TemperanceRegressor.",
        lambda: regressor(),
        lambda: multitask({"size": VALUES}),
    ),
    "weight of a target": way(
        lambda: multitask(task_weights={"kind": 0}), "Leave out columns that should not count.", lambda: multitask({"size": VALUES}, task_weights={"size": 1})
    ),
    "other targets to score": way(
        lambda: of_several().score(X, {"kind": ["a"] * N}),
        "Give the same targets.",
        lambda: of_several().score(X, {"kind": ["a", "b"] * (N // 2), "size": VALUES}),
    ),
    "no target to score": way(
        lambda: of_several().score(X, {"kind": [None] * N, "size": [None] * N}),
        "Give some rows a target.",
        lambda: of_several().score(X, {"kind": [None] * N, "size": VALUES}),
    ),
    "a network with other heads": way(
        lambda: multitask(model=lambda data: nn.Linear(4, 3)), "See temperance.nets.MultiHead.", lambda: multitask(X=IMAGES, model=heads)
    ),
    "other images of neighbors": way(
        lambda: tp.TangentDistanceNeighbors().fit(IMAGES[:, 0], Y).predict(IMAGES[:, 0, :, :5]),
        "Give the same images.",
        lambda: tp.TangentDistanceNeighbors().fit(IMAGES[:, 0], Y).predict(IMAGES[:2, 0]),
    ),
}


@pytest.mark.parametrize("name", TRAINING)
def test_the_way_out_works(name: str) -> None:
    check(TRAINING[name])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_way_out_works_for_estimators(name: str) -> None:
    check(ESTIMATORS[name])
