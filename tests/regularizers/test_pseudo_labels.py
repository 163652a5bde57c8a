import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from tests.regularizers.helpers import Loop
from torch import nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Heads, SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.regularizers import Dropout, PseudoLabels

G = torch.Generator().manual_seed(0)
X = torch.randn(12, 4, generator=G).double() * 2
Y = torch.eye(3).double()[torch.arange(12) % 3]
WEIGHT = (0.5 + torch.rand(12, generator=G)).double()
LABELED = torch.arange(12) % 4 == 0


def net() -> nn.Module:
    made = nn.Linear(4, 3).double()
    with torch.no_grad():
        made.weight.copy_(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).double())
        made.bias.copy_(torch.tensor([0.1, -0.2, 0.0]))
    return made


def batch(**changes):
    return full_batch(X, Y, weight=WEIGHT, labeled=LABELED)._replace(**changes)


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.9])
def test_logistic_regression_in_numpy(threshold: float) -> None:
    """Loss and gradient: weighted cross-entropy of the sure rows without a label against their own arg-max, which is a constant."""
    model, lam = net(), 0.8
    _, report, grads, _ = Loop(Cocktail(PseudoLabels(lam, threshold)), model, SoftmaxCrossEntropy()).gradient(batch())
    _, _, plain, _ = Loop(Cocktail(), model, SoftmaxCrossEntropy()).gradient(batch())
    z = (X @ model.weight.detach().T + model.bias.detach()).numpy()
    p = softmax(z, 1)
    sure = (p.max(1) >= threshold) & ~LABELED.numpy()
    assert 0 < sure.sum() < 12 and (threshold == 0.0 or sure.sum() < (~LABELED.numpy()).sum())
    one_hot, w = np.eye(3)[p.argmax(1)], WEIGHT.numpy()
    losses = -(one_hot * log_softmax(z, 1)).sum(1) * w
    assert report["pseudo_labels"].item() == pytest.approx(lam * losses[sure].sum() / sure.sum(), rel=1e-12)
    slope = lam * ((p - one_hot) * w[:, None])[sure].T @ X.numpy()[sure] / sure.sum()
    np.testing.assert_allclose((grads["weight"] - plain["weight"]).numpy(), slope, rtol=1e-9, atol=1e-12)


def test_nobody_is_sure_or_everybody_is_known() -> None:
    for regularizer, rows in ((PseudoLabels(1.0, 0.999999), batch(x=X * 0.01)), (PseudoLabels(1.0, 0.1), batch(labeled=torch.ones(12, dtype=torch.bool)))):
        total, report, _, _ = Loop(Cocktail(regularizer), net(), SoftmaxCrossEntropy()).gradient(rows)
        assert report["pseudo_labels"].item() == 0.0 and total.item() == report["data"].item()


def test_answers_come_without_masks_and_are_learned_with_them() -> None:
    """Dropout of the inputs changes the loss and not the answers: with the masks known it is the cross-entropy of the masked rows."""
    model = nn.Sequential(nn.Identity(), net()).double()
    seen: list[torch.Tensor] = []
    handle = model[1].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    _, report, _, _ = Loop(Cocktail(Dropout(0.5, where="0"), PseudoLabels(1.0, 0.5)), model, SoftmaxCrossEntropy()).gradient(batch())
    handle.remove()
    own, clean, masked = seen
    assert torch.equal(clean, X) and torch.equal(own, masked) and not torch.equal(own, X)
    w, b = model[1].weight.detach(), model[1].bias.detach()
    p = torch.softmax(X @ w.T + b, 1)
    sure = (p.amax(1) >= 0.5) & ~LABELED
    losses = nn.functional.cross_entropy(masked @ w.T + b, p.argmax(1), reduction="none") * WEIGHT
    assert report["pseudo_labels"].item() == pytest.approx(losses[sure].mean().item(), rel=1e-12)


def test_only_heads_that_classify_take_part() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind, self.price = net(), nn.Linear(4, 2).double()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"kind": self.kind(x), "price": self.price(x)}

    criterion = Heads((("kind", SoftmaxCrossEntropy(), 0.5), ("price", SquaredError(), 1.0)))
    y = {"kind": Y, "price": torch.zeros(12, 2).double()}
    rows = full_batch(X, y, weight=WEIGHT, labeled={"kind": LABELED, "price": ~LABELED})
    _, both, _, _ = Loop(Cocktail(PseudoLabels(1.0, 0.5)), Two(), criterion).gradient(rows)
    _, alone, _, _ = Loop(Cocktail(PseudoLabels(1.0, 0.5)), net(), SoftmaxCrossEntropy()).gradient(batch())
    assert both["pseudo_labels"].item() == pytest.approx(0.5 * alone["pseudo_labels"].item(), rel=1e-12)


def test_values_are_no_classes() -> None:
    with pytest.raises(ConfigError, match="PseudoLabels serves classification, and the task is regression"):
        Loop(Cocktail(PseudoLabels()), nn.Linear(4, 1), SquaredError())


def test_it_learns_from_rows_without_a_label() -> None:
    """Two tall clouds with one label each: the plain border is that of the two rows, this one runs between the clouds."""
    g = torch.Generator().manual_seed(0)
    right = torch.arange(200) >= 100
    x = torch.randn(200, 2, generator=g) * torch.tensor([0.4, 2.0]) + torch.where(right, 2.0, -2.0)[:, None] * torch.tensor([1.0, 0.0])
    x[0], x[100] = torch.tensor([-2.0, -1.5]), torch.tensor([2.0, 1.5])
    known = torch.zeros(200, dtype=torch.bool)
    known[[0, 100]] = True
    data = tp.data.Dataset(x, torch.eye(2)[right.long()], "classification", labeled=known)

    def share(regularizer: PseudoLabels) -> float:
        model = nn.Linear(2, 2)
        with torch.no_grad():
            model.weight.zero_()
            model.bias.zero_()
        done = tp.fit(model, Cocktail(regularizer), data, validation=None, optimizer=tp.optim.SGD(0.5), steps=200, batch_size=200)
        with torch.no_grad():
            return (done.model(x).argmax(1) == right.long()).float().mean().item()

    assert share(PseudoLabels(0.0)) < 0.95
    assert share(PseudoLabels(tp.schedules.WarmUp(1.0, fraction=0.2), threshold=0.8)) == 1.0
