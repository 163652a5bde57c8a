"""AugMix: its views against chains applied one image after another, its divergence against scipy's entropies, its loss against passes by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from tests.regularizers.helpers import Loop, bound, context
from torch import Tensor, nn

from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Heads, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.regularizers import AugMix, Dropout
from temperance.regularizers._image_changes import applied
from temperance.regularizers.augmix import CHAINS, CHANGES, DEPTH, divergence


def images(rows: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(rows, 3, 6, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_view_is_the_mixture_of_chains_of_single_images() -> None:
    """The same draws, spent on one image and one chain after another: a batch that mixed up rows and chains would differ."""
    x, m = images(), 0.7
    rows, rng = len(x), context().rng
    kind = (rng.integers(len(CHANGES) - 1, (DEPTH, CHAINS * rows)) + 1).reshape(DEPTH, CHAINS, rows)
    depth = (rng.integers(DEPTH, (CHAINS * rows,)) + 1).reshape(CHAINS, rows)
    size, turn = rng.uniform((2, DEPTH, CHAINS * rows), x.dtype).reshape(2, DEPTH, CHAINS, rows)
    share, own = -rng.uniform((CHAINS, rows), x.dtype).log(), rng.uniform((rows,), x.dtype)
    expected = torch.zeros_like(x)
    for i in range(rows):
        mixture = torch.zeros_like(x[i])
        for chain in range(CHAINS):
            image = x[i : i + 1]
            for link in range(int(depth[chain, i])):
                sign = -1.0 if turn[link, chain, i] < 0.5 else 1.0
                one = [torch.tensor([v]) for v in (int(kind[link, chain, i]), m * float(size[link, chain, i]), sign)]
                image = applied(image, one[0], one[1].double(), one[2].double(), "border", CHANGES)
            mixture += share[chain, i] / share[:, i].sum() * image[0]
        expected[i] = own[i] * x[i] + (1 - own[i]) * mixture
    assert {"identity"} < set(CHANGES) and depth.unique().tolist() == [1, 2, 3]
    torch.testing.assert_close(bound(AugMix(1.0, m)).mixed(x, context()), expected)


def test_views_stay_in_the_range_of_their_image_and_flat_images_stay() -> None:
    x = 3.0 * images(64) - 1.0
    x[0] = 0.5
    view = bound(AugMix(1.0, 1.0)).mixed(x, context())
    torch.testing.assert_close(view[0], x[0])
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    assert (view >= low - 1e-9).all() and (view <= high + 1e-9).all()
    apart = (view - x).abs().amax((1, 2, 3))[1:]
    assert (apart > 1e-3).all() and len(apart.unique()) == 63  # every row draws its own


@pytest.mark.parametrize("count", [2, 3])
def test_the_divergence_is_entropy_of_the_mean_less_the_mean_entropy(count: int) -> None:
    outs = [torch.randn(7, 4, generator=torch.Generator().manual_seed(i), dtype=torch.float64) * 3 for i in range(count)]
    p = np.stack([torch.softmax(z, 1).numpy() for z in outs])
    expected = np.mean(entropy(p.mean(0), axis=1) - entropy(p, axis=2).mean(0))
    assert float(divergence(SoftmaxCrossEntropy(), outs)) == pytest.approx(expected, rel=1e-9)
    q = np.stack([np.stack([s := torch.sigmoid(z).numpy(), 1 - s]) for z in outs])
    labels = np.mean((entropy(q.mean(0), axis=0) - entropy(q, axis=1).mean(0)).sum(1))
    assert float(divergence(SigmoidCrossEntropy(), outs)) == pytest.approx(labels, rel=1e-9)


def test_the_divergence_of_sure_predictions() -> None:
    """Three certain and different answers are ln 3 apart, equal ones not at all; the gradient stays finite."""
    sure = [(200.0 * torch.eye(3)[i : i + 1]).requires_grad_() for i in range(3)]
    apart = divergence(SoftmaxCrossEntropy(), sure)
    assert apart.item() == pytest.approx(np.log(3.0), rel=1e-6)
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(apart, sure))
    assert divergence(SoftmaxCrossEntropy(), [sure[0]] * 3).item() == pytest.approx(0.0, abs=1e-7)


class Seen(nn.Module):
    """A linear network that notes what it is given."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.units, self.layer = nn.Identity(), nn.Linear(126, outputs).double()
        self.inputs: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.inputs.append(x.detach())
        return self.layer(self.units(x.flatten(1)))


@pytest.mark.parametrize("criterion", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()], ids=["classes", "labels"])
def test_the_loss_is_that_of_three_passes_by_hand(criterion: SoftmaxCrossEntropy | SigmoidCrossEntropy) -> None:
    """The data loss at the images as they are; all three predictions are differentiated; rows without a target count in the divergence."""
    net = Seen(4)
    batch = full_batch(images(), torch.eye(4).double()[torch.arange(5) % 4], torch.ones(5).double(), torch.arange(5) != 2)
    total, report, grads, _ = Loop(Cocktail(AugMix(2.0, 0.8)), net, criterion).gradient(batch)
    data_x, clean, *views = net.inputs
    assert torch.equal(data_x, batch.x) and torch.equal(clean, batch.x) and len(views) == 2 and not torch.equal(*views)
    outs = [net.layer(x.flatten(1)) for x in (clean, *views)]
    data, apart = criterion(outs[0], batch), divergence(criterion, outs)
    assert report["data"].item() == pytest.approx(data.item()) and report["augmix"].item() == pytest.approx(2.0 * apart.item())
    assert total.item() == pytest.approx((data + 2.0 * apart).item())
    for name, expected in zip(grads, torch.autograd.grad(data + 2.0 * apart, list(net.parameters())), strict=True):
        torch.testing.assert_close(grads[name], expected)


def test_masks_are_the_same_in_all_three_passes() -> None:
    """On flat images, which no change moves, nothing but the masks could tell the predictions apart."""
    batch = full_batch(torch.ones(6, 3, 6, 7).double(), torch.eye(4).double()[torch.arange(6) % 4], torch.ones(6).double())
    _, report, _, _ = Loop(Cocktail(Dropout(0.5, where="units"), AugMix(5.0)), Seen(4), SoftmaxCrossEntropy()).gradient(batch)
    assert report["augmix"].item() == pytest.approx(0.0, abs=1e-9) and report["data"].item() > 0


def test_of_several_heads_those_with_probabilities_count() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind, self.price = nn.Linear(126, 4).double(), nn.Linear(126, 1).double()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"kind": self.kind(x.flatten(1)), "price": self.price(x.flatten(1))}

    y = {"kind": torch.eye(4).double()[torch.arange(5) % 4], "price": torch.zeros(5, 1).double()}
    batch = full_batch(images(), y, torch.ones(5).double())
    reports = []
    for scale in (1.0, 0.5):
        heads = Heads((("kind", SoftmaxCrossEntropy(), scale), ("price", SquaredError(), 3.0)))
        torch.manual_seed(0)
        reports.append(Loop(Cocktail(AugMix(2.0)), Two(), heads).gradient(batch)[1]["augmix"].item())
    assert reports[0] > 0 and reports[1] == pytest.approx(0.5 * reports[0])
    with pytest.raises(ConfigError, match="AugMix serves classification, multilabel, and the task is regression"):
        Loop(Cocktail(AugMix()), Seen(1), SquaredError())
