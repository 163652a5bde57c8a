"""MaxAbs and NormBall: projections."""

import math

import numpy as np
import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SquaredError
from temperance.regularizers import L2, MaxAbs, NormBall

shapes = st.sampled_from([(3, 4), (2, 3, 3, 2), (4, 1), (5,)])


def two(shape: tuple[int, ...], seed: int) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return {"a": 3 * torch.randn(shape, dtype=torch.float64, generator=g), "b": torch.randn(2, 2, dtype=torch.float64, generator=g)}


@given(shapes, st.floats(0.01, 5.0), st.integers(0, 50))
def test_max_abs_is_the_projection_on_the_cube(shape: tuple[int, ...], c: float, seed: int) -> None:
    params, reg = two(shape, seed), bound(MaxAbs(c))
    once = reg.after_step(params, context())
    for name, w in params.items():
        assert np.array_equal(once[name].numpy(), np.clip(w.numpy(), -c, c))
        assert torch.equal(reg.after_step(once, context())[name], once[name])


@given(shapes, st.floats(0.05, 20.0), st.integers(0, 50))
def test_norm_ball_is_the_projection_on_the_ball(shape: tuple[int, ...], radius: float, seed: int) -> None:
    params = two(shape, seed)
    for over in ("layer", "all"):
        reg = bound(NormBall(radius, over=over))
        once = reg.after_step(params, context())
        whole = math.sqrt(sum(float((w.numpy() ** 2).sum()) for w in params.values()))
        for name, w in params.items():
            length = float(np.linalg.norm(w.numpy().ravel())) if over == "layer" else whole
            np.testing.assert_allclose(once[name].numpy(), w.numpy() * min(1.0, radius / length), rtol=1e-13, atol=0)
            torch.testing.assert_close(reg.after_step(once, context())[name], once[name], rtol=1e-13, atol=0)
            if length <= radius * (1 - 1e-12):
                assert torch.equal(once[name], w)


@given(shapes, st.floats(0.05, 20.0), st.integers(0, 50))
def test_projections_are_non_expansive(shape: tuple[int, ...], size: float, seed: int) -> None:
    a, b = two(shape, seed), two(shape, seed + 1000)

    def apart(x: dict[str, torch.Tensor], y: dict[str, torch.Tensor]) -> float:
        return math.sqrt(sum(float((x[name] - y[name]).square().sum()) for name in x))

    for reg in (bound(MaxAbs(size)), bound(NormBall(size)), bound(NormBall(size, over="all"))):
        assert apart(reg.after_step(a, context()), reg.after_step(b, context())) <= apart(a, b) * (1 + 1e-12)


def test_a_ball_is_the_constraint_of_l2() -> None:
    """Projected descent ends where L2 does with the strength whose minimizer has the ball's radius."""
    batch, lam = linear_rows(), 0.3
    penalized = Loop(Cocktail(L2(lam)), linear_net(), SquaredError(half=True)).descend(batch, 0.3, 1500)["weight"]
    inside = Loop(Cocktail(NormBall(penalized.norm().item())), linear_net(), SquaredError(half=True)).descend(batch, 0.3, 1500)["weight"]
    torch.testing.assert_close(inside, penalized, rtol=1e-9, atol=1e-9)


def test_max_abs_ends_at_the_best_corner_or_inside() -> None:
    """For a quadratic with a diagonal Hessian the constrained minimizer is the clipped one."""
    h, target, w = torch.tensor([0.5, 1.0, 4.0]).double(), torch.tensor([2.0, -0.3, -1.0]).double(), torch.zeros(3).double()
    for _ in range(300):
        w = bound(MaxAbs(0.7)).after_step({"w": w - 0.2 * h * (w - target)}, context())["w"]
    torch.testing.assert_close(w, target.clamp(-0.7, 0.7), rtol=1e-12, atol=1e-12)


def test_infinity_and_zeros() -> None:
    params = {"w": torch.tensor([[0.0, -3e30], [4e-30, 1.0]])}
    for reg in (MaxAbs(math.inf), NormBall(math.inf), NormBall(math.inf, over="all")):
        assert torch.equal(bound(reg, torch.float32).after_step(params, context())["w"], params["w"])
        assert reg.is_off()
    zero = {"w": torch.zeros(2, 2)}
    assert torch.equal(bound(NormBall(1.0), torch.float32).after_step(zero, context())["w"], zero["w"])
    assert MaxAbs.rank == NormBall.rank == 2
