import numpy as np
import pytest
import torch
from scipy.special import expit
from tests.regularizers.helpers import Loop, bound, context
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.regularizers import VAT


def logistic() -> tuple[nn.Module, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    net = nn.Linear(4, 1).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(1, 4, generator=g))
    return net, torch.randn(9, 4, generator=g).double()


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


@pytest.mark.parametrize("labeled", [True, False])
def test_on_logistic_regression_the_direction_is_the_weight_vector(labeled: bool) -> None:
    """The prediction changes along ±w alone, so VAT is the mean of KL(σ(z) ‖ σ(z ± eps |w|)) over all rows, labelled or not."""
    net, x = logistic()
    batch = full_batch(x, torch.zeros(9, 1).double(), weight=torch.ones(9).double(), labeled=torch.full((9,), labeled))
    _, report, _, _ = Loop(Cocktail(VAT(eps=0.7, lam=2.0, xi=1e-5)), net, SigmoidCrossEntropy()).gradient(batch)
    z, step = (x @ net.weight.detach().T + net.bias.detach()).numpy().ravel(), 0.7 * net.weight.detach().norm().item()
    up, down = kl(expit(z), expit(z + step)), kl(expit(z), expit(z - step))
    probe = bound(VAT(xi=1e-5))._direction({n: p.detach() for n, p in net.named_parameters()}, x, torch.ones(()).double(), grad_context(net))
    cosine = (probe @ net.weight.detach().T).ravel() / net.weight.detach().norm()
    np.testing.assert_allclose(cosine.abs().numpy(), 1.0, atol=1e-6)
    mean = report["vat"].item() / 2.0
    assert np.minimum(up, down).mean() - 1e-9 <= mean <= np.maximum(up, down).mean() + 1e-9


def grad_context(net: nn.Module):
    def forward(params, x, mode):
        return torch.func.functional_call(net, params, (x,)), {}, {}

    return context(forward=forward, criterion=SigmoidCrossEntropy())


def test_single_precision_finds_the_direction_too() -> None:
    net, x = logistic()
    net, x = net.float(), x.float()
    probe = bound(VAT(), torch.float32)._direction({n: p.detach() for n, p in net.named_parameters()}, x, torch.ones(()), grad_context(net))
    cosine = (probe @ net.weight.detach().T).ravel() / net.weight.detach().norm()
    np.testing.assert_allclose(cosine.abs().numpy(), 1.0, atol=1e-3)


def test_the_power_iteration_finds_the_worst_direction_of_a_linear_map() -> None:
    """For squared error the divergence is |A r|², largest along the first right singular vector."""
    g = torch.Generator().manual_seed(0)
    net = nn.Linear(5, 3, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.randn(3, 5, generator=g))
    batch = full_batch(torch.randn(7, 5, generator=g).double(), torch.zeros(7, 3).double(), weight=torch.ones(7).double())
    _, report, _, _ = Loop(Cocktail(VAT(eps=1.0, lam=1.0, power_iterations=60)), net, SquaredError()).gradient(batch)
    top = torch.linalg.svdvals(net.weight.detach())[0].item()
    assert report["vat"].item() == pytest.approx(top**2 / 3, rel=1e-5)


def test_radius_is_in_units_of_the_inputs_over_all_leaves() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out, self.seen = nn.Linear(5, 2), []

        def forward(self, x: dict[str, torch.Tensor]) -> torch.Tensor:
            self.seen.append({k: v.detach() for k, v in x.items()})
            return self.out(torch.cat([x["a"], x["b"], x["c"].float()], 1))

    torch.manual_seed(0)
    net = Net()
    x = {"a": torch.randn(6, 2), "b": torch.randn(6, 2), "c": torch.arange(6).unsqueeze(1)}
    scale = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3.0, 4.0]), "c": torch.ones(())}
    Loop(Cocktail(VAT(eps=0.5)), net, SoftmaxCrossEntropy(), {"input_scale": scale}).gradient(full_batch(x, torch.eye(2)[torch.arange(6) % 2]))
    moved = net.seen[-1]
    d = torch.cat([(moved[k] - x[k]) / scale[k] for k in ("a", "b")], 1)
    torch.testing.assert_close(d.norm(dim=1), torch.full((6,), 0.5), rtol=1e-4, atol=1e-4)
    assert torch.equal(moved["c"], x["c"])


def test_the_reference_prediction_is_a_constant() -> None:
    """Only the moved prediction is differentiated: for squared error with a fixed r the gradient is 2 (A r) rᵀ."""
    net = nn.Linear(3, 1, bias=False).double()
    batch = full_batch(torch.zeros(1, 3).double(), torch.zeros(1, 1).double(), weight=torch.ones(1).double())
    loop = Loop(Cocktail(VAT(eps=1.0, lam=1.0)), net, SquaredError())
    _, _, grads, _ = loop.gradient(batch)
    w = net.weight.detach()
    torch.testing.assert_close(grads["weight"], 2 * w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [0.0, 1.0, "x", True])
def test_bad_probe(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `xi` of VAT in \(0, 1\)"):
        VAT(xi=bad)
