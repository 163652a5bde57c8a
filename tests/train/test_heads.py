"""One network with two heads and missing targets, trained as a population."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.nets import TwoHeads
from temperance.train.member import Member
from temperance.train.population import Population

HEADS = tp.losses.Heads((("kind", tp.losses.SoftmaxCrossEntropy(), 1.0), ("price", tp.losses.SquaredError(), 0.5)))


def rows(n: int = 30) -> Dataset:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=g)
    y: Any = {"kind": torch.eye(3)[torch.arange(n) % 3], "price": x[:, :1] + 0.1 * torch.randn(n, 1, generator=g)}
    labeled: Any = {"kind": torch.arange(n) % 2 == 0, "price": torch.arange(n) % 3 != 1}
    return Dataset(x, y, {"kind": "classification", "price": "regression"}, None, labeled)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.kind, self.price = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.body(x)
        return {"kind": self.kind(h), "price": self.price(h)}


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


def run(data: Dataset, cocktails: list[tp.Cocktail], steps: int = 6, **settings: Any) -> Population:
    made = Population(network(), [Member(c, tp.optim.SGD(0.1), seed=1) for c in cocktails], data, criterion=HEADS, batch_size=10, total_steps=steps, **settings)
    made.run()
    return made


def test_a_population_with_two_heads() -> None:
    """Every member alone is the member in company; the data loss decides where there is no single metric."""
    data = rows()
    held = data.take(torch.arange(10))
    cocktails = [tp.Cocktail(tp.MixUp(a), tp.LabelSmoothing(e), tp.Dropout(0.2)) for a, e in ((0.0, 0.0), (0.4, 0.1), (0.2, 0.0))]
    together = run(data, cocktails, validation=held, check_every=2)
    for i, cocktail in enumerate(cocktails):
        alone = run(data, [cocktail], validation=held, check_every=2).outcomes[0]
        mine = together.outcomes[i]
        assert mine.state is not None and alone.state is not None
        assert all(torch.equal(mine.state[name], alone.state[name]) for name in mine.state)
        losses = [row["validation_loss"] for row in mine.history]
        assert mine.score == min(losses) == mine.history[mine.best]["validation_loss"]
    net = together.model(0)
    with torch.no_grad():
        out = net(held.x)
    assert isinstance(held.y, dict) and isinstance(held.labeled, dict)
    known, priced = held.labeled["kind"], held.labeled["price"]
    expected = nn.functional.cross_entropy(out["kind"][known], held.y["kind"][known]) + 0.5 * nn.functional.mse_loss(
        out["price"][priced], held.y["price"][priced]
    )
    assert together.outcomes[0].score == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("junk", [100.0, float("nan")])
@pytest.mark.parametrize("cocktail", [tp.Cocktail(), tp.Cocktail(tp.MixUp(0.5), tp.CutMix(1.0), tp.LabelSmoothing(0.2), tp.SAM(0.05), tp.FGSM(0.1))])
def test_masked_rows_do_not_reach_their_head(junk: float, cocktail: tp.Cocktail) -> None:
    data = rows()
    assert isinstance(data.y, dict) and isinstance(data.labeled, dict)
    spoiled: Any = {name: torch.where(data.labeled[name][:, None], y, torch.full_like(y, junk)) for name, y in data.y.items()}
    clean, dirty = (run(d, [cocktail]).outcomes[0].final for d in (data, replace(data, y=spoiled)))
    assert clean is not None and dirty is not None
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)
    assert all(torch.isfinite(t).all() for t in clean.values())


@pytest.mark.parametrize("head", ["kind", "price"])
def test_a_head_without_targets_gets_no_gradient(head: str) -> None:
    """Its weights stay to the bit, while the other head and the body learn."""
    data = rows()
    assert isinstance(data.labeled, dict)
    labeled: Any = {**data.labeled, head: torch.zeros(30, dtype=torch.bool)}
    before = network().state_dict()
    after = run(replace(data, labeled=labeled), [tp.Cocktail()]).outcomes[0].final
    assert after is not None
    for name, t in before.items():
        assert torch.equal(after[name], t) is name.startswith(head)


def test_the_ready_network_and_the_default_loss() -> None:
    data = rows()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = TwoHeads(4, {"kind": 3, "price": 1}, hidden=(8,))
    done = tp.fit(net, tp.Cocktail(tp.L2(1e-3)), data, validation=0.3, epochs=3, batch_size=10)
    assert set(done.model(data.x)) == {"kind", "price"}
    assert done.outcomes[0].history[-1]["validation_loss"] == done.outcomes[0].history[-1]["validation_score"]


def test_retraining_with_two_heads() -> None:
    data = rows()
    done = tp.fit(network(), tp.Cocktail(), data, validation=data.take(torch.arange(6)), criterion=HEADS, epochs=3, batch_size=10, retrain="same_epochs")
    assert done.retrained is not None and done.retrained.reached
