import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from scipy.stats import entropy
from tests.regularizers.helpers import Loop
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, SigmoidCrossEntropy, SoftmaxCrossEntropy
from temperance.regularizers import ConfidencePenalty


def net(outputs: int) -> nn.Module:
    made = nn.Linear(4, outputs).double()
    with torch.no_grad():
        made.weight.copy_(torch.randn(outputs, 4, generator=torch.Generator().manual_seed(0)))
        made.bias.zero_()
    return made


X = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("criterion", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()])
def test_it_is_the_mean_entropy_of_scipy(criterion: Criterion) -> None:
    model = net(3)
    batch = full_batch(X, torch.eye(3)[torch.arange(7) % 3].double(), weight=torch.ones(7).double(), labeled=torch.arange(7) < 5)
    _, report, _, _ = Loop(Cocktail(ConfidencePenalty(0.3)), model, criterion).gradient(batch)
    z = model(X).detach().numpy()
    if criterion.task == "classification":
        expected = entropy(softmax(z, axis=1), axis=1)
    else:
        expected = sum(entropy(np.stack([expit(z), 1 - expit(z)]), axis=0).T)
    assert report["confidence_penalty"].item() == pytest.approx(-0.3 * expected.mean(), rel=1e-10)


def test_its_gradient_is_that_of_the_entropy_and_alone_it_leads_to_uniform_predictions() -> None:
    """dH/dz_j = -p_j (ln p_j + H), by hand; rows without a target count too."""
    model = net(3)
    batch = full_batch(X, torch.zeros(7, 3).double(), weight=torch.ones(7).double(), labeled=torch.zeros(7, dtype=torch.bool))
    loop = Loop(Cocktail(ConfidencePenalty(0.5)), model, SoftmaxCrossEntropy())
    _, _, grads, _ = loop.gradient(batch)
    p = softmax((X @ model.weight.detach().T).numpy(), axis=1)
    h = entropy(p, axis=1)[:, None]
    np.testing.assert_allclose(grads["bias"].numpy(), (0.5 * p * (np.log(p) + h)).mean(0), atol=1e-12)
    loop.descend(batch, 2.0, 400)
    z = X @ loop.params["weight"].T + loop.params["bias"]
    np.testing.assert_allclose(torch.softmax(z, 1).numpy(), 1 / 3, atol=1e-3)


def test_a_certain_prediction_has_no_entropy_and_a_finite_gradient() -> None:
    model = net(2)
    with torch.no_grad():
        model.weight.mul_(1e4)
    batch = full_batch(X, torch.eye(2)[torch.arange(7) % 2].double(), weight=torch.ones(7).double())
    _, report, grads, _ = Loop(Cocktail(ConfidencePenalty(1.0)), model, SoftmaxCrossEntropy()).gradient(batch)
    assert report["confidence_penalty"].item() == pytest.approx(0.0, abs=1e-9)
    assert all(torch.isfinite(g).all() for g in grads.values())
