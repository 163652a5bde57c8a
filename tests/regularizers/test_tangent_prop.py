import numpy as np
import pytest
import torch
from scipy import ndimage
from tests.regularizers.helpers import Loop
from torch import nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Heads, SoftmaxCrossEntropy, SquaredError
from temperance.core.tangents import image_tangents
from temperance.data.dataset import Dataset
from temperance.regularizers import Dropout, TangentProp
from temperance.train.retrain import concatenate

G = torch.Generator().manual_seed(0)
X = torch.randn(5, 3, generator=G).double()
T = torch.randn(5, 2, 3, generator=G).double()


def rows(x: torch.Tensor, outputs: int = 2, **fields):
    return full_batch(x, torch.zeros(len(x), outputs).double(), weight=torch.ones(len(x)).double())._replace(**fields)


def smooth() -> np.ndarray:
    """Two blobs that are zero at the border, as two channels."""
    y, x = np.mgrid[:31, :41] - np.array([15.0, 20.0])[:, None, None]
    return np.stack([np.exp(-((x - 1) ** 2 + 0.7 * (y + 1) ** 2 + 0.4 * x * y) / 16), np.exp(-(x**2 + (y - 2) ** 2) / 16)])


MOVES = {  # inverse maps from output to input positions (row, column) for movements of size e
    "right": lambda e: (np.eye(2), np.array([0.0, -e])),
    "down": lambda e: (np.eye(2), np.array([-e, 0.0])),
    "turn": lambda e: (np.array([[np.cos(e / 20), -np.sin(e / 20)], [np.sin(e / 20), np.cos(e / 20)]]), None),
    "grow": lambda e: (np.eye(2) / (1 + e / 20), None),
}


@pytest.mark.parametrize("move", range(4))
def test_image_tangents_are_the_derivatives_of_real_movements(move: int) -> None:
    """Against scipy's spline interpolation. The central difference of a blob of variance 8 is off by about 3 / (6 · 8) of its derivative."""
    image, centre = smooth(), np.array([15.0, 20.0])
    tangent = image_tangents(torch.from_numpy(image)[None])[0, move].numpy()
    name = tp.core.tangents.IMAGE_TANGENTS[move]

    def moved(e: float) -> np.ndarray:
        matrix, shift = MOVES[name](e)
        offset = centre - matrix @ centre if shift is None else shift
        return np.stack([ndimage.affine_transform(channel, matrix, offset, order=5) for channel in image])

    slope = ((moved(0.01) - moved(-0.01)) / 0.02)[:, 2:-2, 2:-2]  # at the border scipy's image ends
    tangent = tangent[:, 2:-2, 2:-2]
    assert np.abs(tangent - slope).max() < 0.1 * np.abs(slope).max()
    assert (tangent * slope).sum() / np.linalg.norm(tangent) / np.linalg.norm(slope) > 0.995


def test_a_linear_net_in_closed_form() -> None:
    """Σ_t |W t|², a mean over rows; the gradient 2 lam W Σ t tᵀ / n."""
    net = nn.Linear(3, 2).double()
    loop = Loop(Cocktail(TangentProp(0.3)), net, SquaredError(), {"tangents": T})
    _, report, grads, _ = loop.gradient(rows(X))
    _, _, plain, _ = Loop(Cocktail(), net, SquaredError()).gradient(rows(X))
    w, t = net.weight.detach(), T.reshape(10, 3)
    assert report["tangent_prop"].item() == pytest.approx(0.3 * (t @ w.T).square().sum().item() / 5, rel=1e-12)
    torch.testing.assert_close(grads["weight"] - plain["weight"], 0.3 * 2 * w @ t.T @ t / 5, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(grads["bias"], plain["bias"])


def test_a_hidden_layer_against_the_jacobian_of_autograd() -> None:
    """Value, and gradient by double backward; dropout of the training pass has no part in it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).double()
    loop = Loop(Cocktail(Dropout(0.5), TangentProp(1.0)), net, SoftmaxCrossEntropy(), {"tangents": T})
    _, report, grads, _ = loop.gradient(rows(X))
    _, _, plain, _ = Loop(Cocktail(Dropout(0.5)), net, SoftmaxCrossEntropy()).gradient(rows(X))
    jacobians = torch.stack([torch.autograd.functional.jacobian(net, x, create_graph=True) for x in X])
    penalty = torch.einsum("noi,nki->nko", jacobians, T).square().sum() / 5
    assert report["tangent_prop"].item() == pytest.approx(penalty.item(), rel=1e-12)
    slopes = torch.autograd.grad(penalty, [p for name, p in net.named_parameters() if name != "2.bias"])
    for name, slope in zip([name for name in plain if name != "2.bias"], slopes, strict=True):
        torch.testing.assert_close(grads[name] - plain[name], slope, rtol=1e-9, atol=1e-11)


def test_rows_find_their_own_tangents() -> None:
    net = nn.Linear(3, 2).double()
    order = torch.tensor([3, 0, 3])
    loop = Loop(Cocktail(TangentProp(1.0)), net, SquaredError(), {"tangents": T})
    _, report, _, _ = loop.gradient(rows(X[order], row_id=order))
    expected = (T[order].reshape(6, 3) @ net.weight.detach().T).square().sum().item() / 3
    assert report["tangent_prop"].item() == pytest.approx(expected, rel=1e-12)


def test_images_use_their_numerical_tangents() -> None:
    x = torch.rand(4, 2, 5, 6, generator=G).double()
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 3)).double()
    _, report, _, _ = Loop(Cocktail(TangentProp(1.0)), net, SquaredError()).gradient(rows(x, 3))
    t = image_tangents(x).reshape(16, 60)
    assert report["tangent_prop"].item() == pytest.approx((t @ net[1].weight.detach().T).square().sum().item() / 4, rel=1e-12)


def test_numbers_use_a_random_direction_whose_mean_is_the_whole_jacobian() -> None:
    """Over n = 20,000 rows the mean of |W s v|² is |W s|²_F, with a relative standard deviation below sqrt(2 / n)."""
    net, scale = nn.Linear(3, 2).double(), torch.tensor([1.0, 2.0, 3.0]).double()
    loop = Loop(Cocktail(TangentProp(1.0)), net, SquaredError(), {"input_scale": scale})
    first, second = (loop.gradient(rows(torch.zeros(20_000, 3).double()))[1]["tangent_prop"].item() for _ in range(2))
    assert first == second
    assert first == pytest.approx((net.weight.detach() * scale).square().sum().item(), rel=5 * (2 / 20_000) ** 0.5)


def test_leaves_move_one_at_a_time_and_heads_are_weighted() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 2).double(), nn.Linear(5, 1).double()

        def forward(self, x: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            h = torch.cat([x["first"], x["second"] ** 2], 1) + x["codes"]
            return {"a": self.a(h), "b": self.b(h)}

    net, g = Two(), torch.Generator().manual_seed(1)
    x = {"first": torch.randn(4, 3, generator=g).double(), "second": torch.randn(4, 2, generator=g).double(), "codes": torch.ones(4, 1, dtype=torch.long)}
    given = {"first": torch.randn(4, 2, 3, generator=g).double(), "second": torch.randn(4, 1, 2, generator=g).double()}
    y = {"a": torch.zeros(4, 2).double(), "b": torch.zeros(4, 1).double()}
    criterion = Heads((("a", SoftmaxCrossEntropy(), 1.0), ("b", SquaredError(), 0.5)))
    batch = full_batch(x, y, weight=torch.ones(4).double())
    _, report, _, _ = Loop(Cocktail(TangentProp(1.0)), net, criterion, {"tangents": given}).gradient(batch)
    total = 0.0
    for head, factor in (("a", 1.0), ("b", 0.5)):
        w = getattr(net, head).weight.detach()
        total += factor * (given["first"] @ w[:, :3].T).square().sum().item()
        total += factor * ((2 * x["second"][:, None] * given["second"]) @ w[:, 3:].T).square().sum().item()
    assert report["tangent_prop"].item() == pytest.approx(total / 4, rel=1e-12)
    only = {"first": given["first"]}
    _, report, _, _ = Loop(Cocktail(TangentProp(1.0)), net, criterion, {"tangents": only}).gradient(batch)
    assert 0.0 < report["tangent_prop"].item() < total / 4
    _, report, _, _ = Loop(Cocktail(TangentProp(1.0)), net, criterion, {"tangents": {}}).gradient(batch)
    assert report["tangent_prop"].item() == 0.0


def test_tangents_travel_with_the_rows_of_a_data_set() -> None:
    data = Dataset(X.float(), torch.zeros(5, 2), "regression", tangents=T.float())
    other = Dataset(X.float(), torch.zeros(5, 2), "regression")
    assert torch.equal(data.take([4, 1]).tangents, T.float()[[4, 1]]) and torch.equal(data.to("cpu").tangents, T.float())
    assert torch.equal(concatenate(other, data).tangents, torch.cat([torch.zeros(5, 2, 3), T.float()]))
    assert concatenate(other, other).tangents is None
    with pytest.raises(tp.DataError, match="same number of rows"):
        Dataset(X.float(), torch.zeros(5, 2), "regression", tangents=T[:3].float())


def test_a_population_with_folds_trains_on_the_tangents_of_its_rows() -> None:
    """Without a data loss to speak of, descent flattens each member's network along the tangents of its own rows and nowhere else."""
    x = torch.zeros(6, 2)
    tangents = torch.eye(2).repeat_interleave(3, 0)[:, None]  # rows 0, 1, 2 move along the first input, rows 3, 4, 5 along the second
    data = Dataset(x, torch.zeros(6, 1), "regression", tangents=tangents)
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.fill_(1.0)
    members = [tp.Member(tp.Cocktail(TangentProp(1.0)), tp.optim.SGD(0.1), 0, rows=torch.arange(3) + start) for start in (0, 3)]
    made = tp.Population(net, members, data, batch_size=3, total_steps=200, compile=False)
    weights = [o.final["weight"][0] for o in made.run() if o.final is not None]
    torch.testing.assert_close(weights[0], torch.tensor([0.0, 1.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(weights[1], torch.tensor([1.0, 0.0]), rtol=0, atol=1e-6)
