import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context
from torch import nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.selector import AllParameters
from temperance.regularizers import FGSM, SAM, Dropout


def test_on_a_quadratic() -> None:
    """J = ½ wᵀHw: the gradient is H (w + rho Hw / |Hw|)."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(4, 4, generator=g, dtype=torch.float64)
    h, w = a @ a.T, torch.randn(4, generator=g, dtype=torch.float64).requires_grad_()

    def objective(params, batch, mode="train"):
        loss = 0.5 * params["w"] @ h @ params["w"]
        return loss, {"data": loss}, {}, {}

    loss, report, _, _ = bound(SAM(0.3)).around(objective, {"w": w}, None, context())
    found = torch.autograd.grad(loss, w)[0]
    with torch.no_grad():
        climb = h @ w
        torch.testing.assert_close(found, h @ (w + 0.3 * climb / climb.norm()))
        torch.testing.assert_close(report["data"], 0.5 * w @ h @ w)
        torch.testing.assert_close(report["data"] + report["sam"], loss)


def net_and_batch(norm: bool = False):
    torch.manual_seed(0)
    middle = [nn.BatchNorm1d(8)] if norm else []
    net = nn.Sequential(nn.Linear(4, 8), *middle, nn.ReLU(), nn.Linear(8, 3)).double()
    return net, full_batch(torch.randn(10, 4).double(), torch.eye(3)[torch.arange(10) % 3].double(), weight=torch.ones(10).double())


@pytest.mark.parametrize("where", [None, AllParameters()])
def test_against_two_passes_by_hand(where: object) -> None:
    net, batch = net_and_batch()
    sam = SAM(0.2) if where is None else SAM(0.2, where=where)
    _, report, grads, _ = Loop(Cocktail(sam), net, SoftmaxCrossEntropy()).gradient(batch)

    def loss() -> torch.Tensor:
        return torch.nn.functional.cross_entropy(net(batch.x), batch.y)

    chosen = [p for p in net.parameters() if where is not None or p.dim() > 1]
    first = loss()
    slopes = torch.autograd.grad(first, chosen)
    length = torch.sqrt(sum(g.square().sum() for g in slopes))
    with torch.no_grad():
        for p, g in zip(chosen, slopes, strict=True):
            p.add_(0.2 * g / length)
    second = torch.autograd.grad(loss(), list(net.parameters()))
    for mine, theirs in zip(grads.values(), second, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(report["data"], first.detach())


def test_the_first_pass_gives_the_buffers() -> None:
    net, batch = net_and_batch(norm=True)
    plain = Loop(Cocktail(), net, SoftmaxCrossEntropy()).gradient(batch)
    sharp = Loop(Cocktail(SAM(0.5)), net, SoftmaxCrossEntropy()).gradient(batch)
    assert all(torch.equal(sharp[3][name], b) for name, b in plain[3].items())
    assert not torch.equal(sharp[2]["0.weight"], plain[2]["0.weight"])


def test_both_passes_see_the_same_masks() -> None:
    net, batch = net_and_batch()
    seen: list[torch.Tensor] = []
    net[2].register_forward_pre_hook(lambda module, args: seen.append(args[0].detach() == 0))
    Loop(Cocktail(Dropout(0.5, where="1"), SAM(1e-9)), net, SoftmaxCrossEntropy()).gradient(batch)
    assert len(seen) == 2 and torch.equal(seen[0], seen[1])


def test_it_stands_outside_of_attacks() -> None:
    """The order in the cocktail does not matter: the ascent is that of the whole objective."""
    net, batch = net_and_batch()
    one, two = (Loop(c, net, SoftmaxCrossEntropy()).gradient(batch) for c in (Cocktail(SAM(0.1), FGSM(0.1)), Cocktail(FGSM(0.1), SAM(0.1))))
    torch.testing.assert_close(one[0], two[0])
    assert set(one[1]) == {"data", "fgsm", "sam"}


def test_a_flat_point_stays_finite() -> None:
    def objective(params, batch, mode="train"):
        loss = (params["w"] * 0.0).sum()
        return loss, {"data": loss}, {}, {}

    w = torch.ones(3, requires_grad=True)
    loss, _, _, _ = bound(SAM(0.3), torch.float32).around(objective, {"w": w}, None, context())
    loss.backward()
    assert torch.equal(w.grad, torch.zeros(3))
