"""Several networks in one set of weights: what each computes, how they train, what their average predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.criterion import EachMember, Opaque, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError, criterion_of
from temperance.core.selector import Weights
from temperance.data.dataset import Dataset
from temperance.nets import MLP, BatchEnsemble, BatchEnsembleLinear, TableInputs, TabM, build_seeded, initialize, unreached
from temperance.nets.shared import MemberScale
from temperance.train.member import Member
from temperance.train.population import Population

K = 5
KINDS: list[type[BatchEnsemble] | type[TabM]] = [BatchEnsemble, TabM]


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(kind: type[BatchEnsemble] | type[TabM], task: str = "classification", outputs: int = 3, **settings: Any) -> BatchEnsemble | TabM:
    return build_seeded(lambda: kind(4, outputs, task, members=K, hidden=(8, 6), activation="tanh", **settings), 0)


def test_a_layer_is_k_layers_with_weights_of_rank_one_apart() -> None:
    """W_k = W o s_k r_k^T."""
    layer = build_seeded(lambda: BatchEnsembleLinear(4, 3, K), 0).double()
    with torch.no_grad():
        layer.bias.bias.copy_(draw(K, 3))
        layer.s.weight.copy_(draw(K, 3))
    x = draw(6, 4).double()
    out = layer(x)
    for k in range(K):
        own = layer.linear.weight * torch.outer(layer.s.weight[k], layer.r.weight[k])
        torch.testing.assert_close(out[:, k], F.linear(x, own, layer.bias.bias[k]))
        torch.testing.assert_close(layer(x.unsqueeze(1).expand(-1, K, -1))[:, k], out[:, k])


def test_tabm_is_k_mlps_with_common_hidden_layers() -> None:
    net = made(TabM).double().train()
    assert isinstance(net, TabM)
    x = draw(6, 4).double()
    out = net(x)
    for k in range(K):
        one = MLP(4, 3, (8, 6), "tanh").double()
        assert one.output is not None
        state = {f"hidden.{i}.linear.{name}": t for i, layer in enumerate(net.hidden) for name, t in layer.linear.named_parameters()}  # pyright: ignore[reportAttributeAccessIssue,reportCallIssue,reportGeneralTypeIssues] -- Dense
        state |= {"output.weight": net.heads.weight[k].T, "output.bias": net.heads.bias.bias[k]}
        one.load_state_dict(state)
        torch.testing.assert_close(out[:, k], one(x * net.r.weight[k]))


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_averages_predictions(kind: type[BatchEnsemble] | type[TabM]) -> None:
    x = draw(6, 4)
    for task, outputs, link in (("classification", 3, lambda z: z.softmax(-1)), ("multilabel", 2, torch.sigmoid), ("regression", 1, lambda z: z)):
        net = made(kind, task, outputs)
        each = net.train()(x)
        assert each.shape == (6, K, outputs)
        assert not torch.allclose(each[:, 0], each[:, 1])
        torch.testing.assert_close(link(net.eval()(x)), link(each).mean(1))


def test_the_loss_is_the_mean_of_the_members_losses() -> None:
    z, y = draw(6, K, 3).double(), F.one_hot(torch.arange(6) % 3).double()
    weight, labeled = torch.arange(1.0, 7).double(), torch.arange(6) != 2
    for inner in (SoftmaxCrossEntropy(), SigmoidCrossEntropy(), SquaredError()):
        batch = full_batch(torch.zeros(6, 1), y, weight, labeled)
        one_by_one = torch.stack([inner(z[:, k], batch) for k in range(K)])
        torch.testing.assert_close(EachMember(inner)(z, batch), one_by_one.mean())
        torch.testing.assert_close(EachMember(inner)(z[:, 0], batch), one_by_one[0])
        other = z + 0.1
        torch.testing.assert_close(EachMember(inner).divergence(z, other), torch.stack([inner.divergence(z[:, k], other[:, k]) for k in range(K)]).mean())
        assert EachMember(inner).tasks == inner.tasks and torch.equal(EachMember(inner).predict(z), inner.predict(z))
    own = Opaque(F.cross_entropy)
    torch.testing.assert_close(EachMember(own)(z, full_batch(torch.zeros(6, 1), y)), torch.stack([F.cross_entropy(z[:, k], y) for k in range(K)]).mean())


def test_a_model_says_that_it_holds_several() -> None:
    assert criterion_of(MLP(2, 2), SquaredError()) == SquaredError()
    assert criterion_of(nn.Sequential(nn.Identity(), made(TabM)), SquaredError()) == EachMember(SquaredError())


@pytest.mark.parametrize("kind", KINDS)
def test_first_weights(kind: type[BatchEnsemble] | type[TabM]) -> None:
    """All are reached by a seed; factors are signs, of both kinds, and no weights in the sense of decay."""
    net = made(kind)
    assert unreached(net) == []
    initialize(net, 3)
    twin = made(kind)
    initialize(twin, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    scales = [m for m in net.modules() if isinstance(m, MemberScale)]
    assert set(torch.cat([m.weight.flatten() for m in scales]).tolist()) == {-1.0, 1.0}
    assert not any(name.split(".")[-2] in ("r", "s", "bias") for name in Weights().match(net))
    assert {name.split(".")[-2] for name in Weights().match(net)} == ({"linear"} if kind is BatchEnsemble else {"linear", "heads"})


def digits(n: int = 48) -> Dataset:
    x = draw(n, 4)
    return Dataset(x, torch.eye(3)[(x[:, 0] > 0).long() + (x[:, 1] > 0).long()], "classification")


@pytest.mark.parametrize("kind", KINDS)
def test_a_population_is_its_members_alone(kind: type[BatchEnsemble] | type[TabM]) -> None:
    people = [Member(tp.Cocktail(tp.Dropout(0.1 * i), tp.WeightDecay(0.1 * i), tp.VAT(0.1 * i)), tp.optim.AdamW(0.01), seed=i) for i in range(3)]

    def run(chosen: list[Member]) -> list[dict[str, Tensor]]:
        made_of = Population(made(kind, norm="layer"), chosen, digits(), digits(20), batch_size=16, total_steps=12, check_every=6)
        finals = [o.final for o in made_of.run()]
        return [final for final in finals if final is not None]

    together = run(people)
    for i, member in enumerate(people):
        assert all(torch.equal(value, together[i][name]) for name, value in run([member])[0].items())


def test_training_lowers_every_members_loss() -> None:
    data = digits(200)
    before = made(TabM)
    done = tp.fit(before, tp.Cocktail(tp.LabelSmoothing(0.05)), data, optimizer=tp.optim.AdamW(0.02), steps=150, batch_size=32)
    y = data.y
    assert isinstance(y, Tensor) and isinstance(data.x, Tensor)
    losses = [torch.stack([F.cross_entropy(each, y) for each in net.train()(data.x).unbind(1)]).detach() for net in (before, done.model)]
    assert bool((losses[1] < 0.6 * losses[0]).all())
    accuracy = (done.model.eval()(data.x).argmax(1) == y.argmax(1)).float().mean()
    assert float(accuracy) > 0.85


def test_search_takes_them() -> None:
    X = draw(120, 4).numpy()
    data = tp.data.as_dataset(X, (X[:, 0] > 0).astype(int))
    found = tp.search(lambda d: TabM(4, d.out_features, "classification", members=4, hidden=(8,)), data, trials=2, epochs=2, seed=0)
    with torch.no_grad():
        assert found.model.eval()(torch.as_tensor(X)).shape == (120, 2)


def test_attached_as_by_hand() -> None:
    data = digits()
    y = data.y
    assert isinstance(y, Tensor) and isinstance(data.x, Tensor)
    net, twin = made(BatchEnsemble).train(), made(BatchEnsemble).train()
    reg = tp.Cocktail(tp.L2(0.1)).attach(net, torch.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss())
    loss = reg.loss(data.x, y.argmax(1))
    out = twin(data.x)
    squares = torch.stack([p.square().sum() for name, p in twin.named_parameters() if name.endswith("linear.weight")]).sum()
    by_hand = torch.stack([F.cross_entropy(out[:, k], y) for k in range(K)]).mean() + 0.05 * squares
    torch.testing.assert_close(loss, by_hand)


def test_tables_come_in_by_a_network_before() -> None:
    inputs = TableInputs(2, (3,))
    net = TabM(inputs.out_features, 1, "regression", members=K, hidden=(8,), inputs=inputs)
    x = {"num": draw(5, 2), "cat": torch.tensor([[0], [1], [2], [1], [0]])}
    assert net(x).shape == (5, K, 1) and net.eval()(x).shape == (5, 1)
    image = BatchEnsemble(6, 2, "classification", members=K, hidden=(4,))
    assert image(draw(5, 1, 2, 3)).shape == (5, K, 2)
    assert BatchEnsemble(4, 2, "classification", members=K, hidden=())(draw(5, 4)).shape == (5, K, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TabM(4, 2, "ranking"), "`task` of TabM to be one of 'classification'"),
        (lambda: BatchEnsemble(4, 2, "regression", norm="batch"), r"`norm` of BatchEnsemble in \[None, 'layer'\], got 'batch'. BatchNorm would"),
        (lambda: TabM(4, 2, "regression", members=0), "`members` of TabM"),
        (lambda: TabM(4, 2, "regression", hidden=()), "`hidden` of TabM with at least one width"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(tp.ConfigError, match=message):
        make()


def test_members_averaged_err_less_than_one() -> None:
    """v / M + (M - 1) c / M with the members' own errors, exactly."""
    from temperance.ensemble import diversity, error_products, squared_error

    net = made(TabM, "regression", 1).double()
    x, y = draw(30, 4).double(), draw(30, 1, seed=2).double()
    with torch.no_grad():
        each, mean = net.train()(x).transpose(0, 1), net.eval()(x)
    found = diversity(error_products(each, y, "regression"))
    assert found.at(K) == pytest.approx(float(squared_error(mean, y, "regression").mean()), rel=1e-12) and found.c < found.v
    np.testing.assert_allclose(found.v, ((each - y) ** 2).mean(), rtol=1e-12)
