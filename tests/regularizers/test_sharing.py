"""SoftSharing and Tying against linear systems and against networks that share by construction."""

from typing import Any

import pytest
import torch
from tests.regularizers.helpers import Loop, bound, context
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.batch import Batch, full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.core.selector import AllParameters
from temperance.regularizers import SoftSharing, Tying
from temperance.regularizers._pairs import pairs


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Two(nn.Module):
    """Two linear networks side by side, one output each."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = (nn.ModuleDict({"body": nn.Linear(4, 1, bias=False)}).double() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left["body"](x), self.right["body"](x)], 1)


class Coder(nn.Module):
    """A linear auto-encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(5, 3, bias=False).double(), nn.Linear(3, 5, bias=False).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.encoder(x)))


class TiedCoder(Coder):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.encoder(x)), self.encoder.weight.T)


def rows(y: Tensor, x: Tensor) -> Batch:
    return full_batch(x, y, weight=torch.ones(len(x), dtype=torch.float64))


def two_tasks() -> tuple[Batch, Tensor, Tensor]:
    x = draw(30, 4)
    y = x @ torch.tensor([[1.0, -1.0, 0.5, 0.0], [1.2, -0.5, 0.0, 0.0]], dtype=torch.float64).T + 0.1 * draw(30, 2, seed=1)
    return rows(y, x), x, y


def trained(regularizer: Any, steps: int = 700) -> tuple[Tensor, Tensor]:
    batch, _, _ = two_tasks()
    p = Loop(Cocktail(regularizer), Two(), SquaredError(half=True)).descend(batch, 0.3, steps)
    return p["left.body.weight"][0], p["right.body.weight"][0]


@pytest.mark.parametrize("lam", [0.0, 0.1, 1.0])
def test_two_regressions_share_softly(lam: float) -> None:
    """The minimizer of both losses and lam/2 ‖a - b‖² solves one linear system."""
    _, x, y = two_tasks()
    a, b = trained(SoftSharing(lam, "left.*", "right.*"))
    hessian, right = x.T @ x / 30, x.T @ y / 30
    eye = lam * torch.eye(4, dtype=torch.float64)
    system = torch.cat([torch.cat([hessian + eye, -eye], 1), torch.cat([-eye, hessian + eye], 1)])
    torch.testing.assert_close(torch.cat([a, b]), torch.linalg.solve(system, torch.cat([right[:, 0], right[:, 1]])), rtol=1e-7, atol=1e-8)


def test_penalty_and_gradient_are_the_formula() -> None:
    w = {"a.w": draw(2, 3).requires_grad_(), "b.w": draw(2, 3, seed=1).requires_grad_()}
    value = bound(SoftSharing(0.3, "a.*", "b.*")).penalty(w, {}, context())
    gap = (w["a.w"] - w["b.w"]).detach()
    assert value.item() == pytest.approx(0.15 * gap.square().sum().item(), rel=1e-14)
    grads = torch.autograd.grad(value, list(w.values()))
    torch.testing.assert_close(grads[0], 0.3 * gap)
    torch.testing.assert_close(grads[1], -0.3 * gap)


def test_tied_regressions_are_one_regression_on_all_rows() -> None:
    """share = 1: both are the least squares of the pooled rows; so is soft sharing of a large strength, nearly."""
    _, x, y = two_tasks()
    pooled = torch.linalg.lstsq(torch.cat([x, x]), torch.cat([y[:, 0], y[:, 1]]).unsqueeze(1)).solution[:, 0]
    a, b = trained(Tying(1.0, "left.*", "right.*"))
    assert torch.equal(a, b)
    torch.testing.assert_close(a, pooled, rtol=1e-8, atol=1e-9)
    near = Loop(Cocktail(SoftSharing(5.0, "left.*", "right.*")), Two(), SquaredError(half=True)).descend(two_tasks()[0], 0.1, 700)
    torch.testing.assert_close(near["left.body.weight"][0], pooled, rtol=0, atol=0.05)


def test_tying_to_the_transpose_is_a_network_built_so() -> None:
    """An auto-encoder whose decoder is the encoder's transpose: same gradients and the same steps as one written with one matrix."""
    x = draw(12, 5)
    ours = Loop(Cocktail(Tying(1.0, "encoder.*", "decoder.*", transpose=True)), Coder(), SquaredError())
    theirs = TiedCoder()
    with torch.no_grad():
        theirs.encoder.weight.copy_(ours.params["encoder.weight"])
    optimizer = torch.optim.SGD([theirs.encoder.weight], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (theirs(x) - x).square().mean().backward()
        grads = ours.gradient(rows(x, x))[2]
        torch.testing.assert_close(grads["encoder.weight"], theirs.encoder.weight.grad, rtol=1e-9, atol=1e-12)
        assert torch.equal(grads["decoder.weight"], torch.zeros(5, 3, dtype=torch.float64))
        optimizer.step()
        ours.descend(rows(x, x), 0.1, 1)
        torch.testing.assert_close(ours.params["encoder.weight"], theirs.encoder.weight.detach(), rtol=1e-9, atol=1e-12)
        assert torch.equal(ours.params["decoder.weight"], ours.params["encoder.weight"].T)


def test_a_dense_layer_with_tied_weights_is_a_convolution() -> None:
    """The same kernel at every place of the input: same output, and the kernel's gradient is the sum over its places."""
    places, kernel, x = 4, draw(3), draw(7, 6, seed=2)
    params = {f"at{i}.w": kernel.clone() if i == 0 else torch.zeros(3, dtype=torch.float64) for i in range(places)}
    leaves = {name: w.requires_grad_() for name, w in params.items()}
    seen = bound(Tying(1.0, where=AllParameters())).weights(leaves, context())
    dense = torch.stack([torch.cat([torch.zeros(i).double(), seen[f"at{i}.w"], torch.zeros(3 - i).double()]) for i in range(places)])
    k = kernel.clone().requires_grad_()
    ours, theirs = x @ dense.T, F.conv1d(x.unsqueeze(1), k.view(1, 1, 3)).squeeze(1)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    weight = draw(7, 4, seed=3)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    torch.testing.assert_close(leaves["at0.w"].grad, k.grad, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(leaves[f"at{i}.w"].grad, torch.zeros(3, dtype=torch.float64)) for i in range(1, places))


def test_a_part_of_tying_is_a_mixture() -> None:
    w = {"a.w": draw(2, 3).requires_grad_(), "b.w": draw(2, 3, seed=1).requires_grad_()}
    seen = bound(Tying(0.25)).weights(w, context())
    assert seen["a.w"] is w["a.w"]
    torch.testing.assert_close(seen["b.w"], 0.75 * w["b.w"] + 0.25 * w["a.w"], rtol=1e-14, atol=1e-15)
    ga, gb = torch.autograd.grad((seen["b.w"] * (d := draw(2, 3, seed=2))).sum(), [w["a.w"], w["b.w"]])
    torch.testing.assert_close(ga, 0.25 * d)
    torch.testing.assert_close(gb, 0.75 * d)
    assert torch.equal(bound(Tying(0.25)).after_step(w, context())["b.w"], seen["b.w"])
    assert torch.equal(bound(Tying(0.0)).weights(w, context())["b.w"], w["b.w"])


def shaped(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


def test_pairs_by_name_and_by_shape() -> None:
    params = shaped(l__0__w=(2, 3), l__0__b=(2,), r__0__w=(2, 3), r__0__b=(2,), r2=(3, 2), other__w=(2, 3), turned__w=(3, 2))
    assert pairs(params, "l.*", "r.*", "Tying") == (("l.0.w", "r.0.w"), ("l.0.b", "r.0.b"))
    assert pairs(params, "l.?.w", "r.?.w", "Tying") == (("l.0.w", "r.0.w"),)
    assert pairs(params, "l.0.w", "r2", "Tying", transpose=True) == (("l.0.w", "r2"),)
    assert pairs(params, None, None, "Tying") == (("l.0.w", "r.0.w"), ("l.0.b", "r.0.b"), ("l.0.w", "other.w"))
    assert pairs(params, None, None, "Tying", transpose=True) == (("l.0.b", "r.0.b"), ("l.0.w", "turned.w"))
    assert pairs(shaped(a=(2,), b=(3,)), None, None, "Tying") == ()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("x.*", "y.*", "nothing matches"),
        ("l.*", "r.w", "has no partner"),
        ("l.*", "l.*", "different parameters"),
        ("l.w", "r.w", r"equal shapes, got 'l\.w \(2, 3\) and r\.w \(3, 2\)'"),
    ],
)
def test_pairs_that_cannot_be(first: str, second: str, message: str) -> None:
    """Said when training starts, by both."""
    params = shaped(l__w=(2, 3), l__b=(2,), r__w=(3, 2), r__b=(2,))
    for cls in (SoftSharing, Tying):
        with pytest.raises(ConfigError, match=rf"^Expected `first` and `second` of {cls.__name__} .*{message}"):
            cls(0.5, first, second).init(params)


def test_one_pattern_alone_is_refused() -> None:
    for cls in (SoftSharing, Tying):
        with pytest.raises(ConfigError, match=rf"^Expected `first` of {cls.__name__} .*, got None"):
            cls(0.5, second="r.*")
        with pytest.raises(ConfigError, match=rf"^Expected `first` of {cls.__name__} .*, got 3"):
            cls(0.5, first=3, second="r.*")  # type: ignore[arg-type]


def test_partners_must_be_trained_together() -> None:
    """By shape, a parameter that is frozen would change who leads; by name it lacks its partner."""
    here = {"b": torch.zeros(2, 2), "c": torch.zeros(2, 2)}
    with pytest.raises(ConfigError, match="a is not trained together with the others"):
        bound(Tying(1.0)).after_step(here, context(names=("a", "b", "c")))
    with pytest.raises(ConfigError, match="both must be trained"):
        bound(Tying(1.0, "a", "b")).after_step(here, context(names=("a", "b", "c")))
