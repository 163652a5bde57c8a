"""EMA, SWA and Lookahead."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from tests.regularizers.helpers import bound, context

from temperance.regularizers import EMA, SWA, Lookahead

PATH = torch.randn(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def number(v: float) -> torch.Tensor:
    return torch.tensor(v, dtype=torch.float64)


def run(reg, path=PATH):
    """States after each weight of a path."""
    state = reg.init({"w": torch.full((3,), 99.0, dtype=torch.float64)})
    states = [state]
    for step, w in enumerate(path):
        state = reg.track(state, {"w": w}, context(step=torch.tensor(step), progress=number(step / len(path))))
        states.append(state)
    return states


def read(reg, state, buffers=None, refresh=None):
    return reg.readout(state, {"w": PATH[-1]}, buffers or {}, refresh)


@given(st.floats(0.01, 0.999))
def test_ema_is_the_bias_corrected_exponential_average(decay: float) -> None:
    reg = bound(EMA(decay))
    t = len(PATH)
    weights = (1 - decay) * decay ** np.arange(t - 1, -1, -1)
    np.testing.assert_allclose(read(reg, run(reg)[-1])[0]["w"].numpy(), weights @ PATH.numpy() / (1 - decay**t), rtol=1e-8, atol=1e-10)


def test_ema_forgets_the_initial_weights_at_once() -> None:
    reg = bound(EMA(0.999))
    assert torch.equal(read(reg, run(reg)[1])[0]["w"], PATH[0])


def test_nothing_averaged_yet_is_the_weights() -> None:
    for reg in (bound(EMA(0.9)), bound(SWA(0.9))):
        params, _ = read(reg, run(reg)[0])
        assert torch.equal(params["w"], PATH[-1])
    assert torch.equal(read(bound(SWA(0.95)), run(bound(SWA(0.95)))[-1])[0]["w"], PATH[-1])


@pytest.mark.parametrize(("start", "every", "steps"), [(0.0, 1, range(12)), (0.5, 1, range(6, 12)), (0.5, 3, (8, 11)), (0.76, 1, (10, 11))])
def test_swa_is_the_mean_of_the_weights_it_takes(start: float, every: int, steps: range) -> None:
    reg = bound(SWA(start, every=every))
    torch.testing.assert_close(read(reg, run(reg)[-1])[0]["w"], PATH[list(steps)].mean(0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls", [EMA, SWA])
def test_statistics_are_refreshed_for_the_average_and_copied_on_request(cls: type) -> None:
    buffers = {"mean": torch.zeros(2), "count": torch.tensor(3)}

    def refresh(params, old):
        torch.testing.assert_close(params["w"], read(reg, state)[0]["w"])
        return {"mean": torch.ones(2), "count": old["count"]}

    reg = bound(cls(0.5))
    state = run(reg)[-1]
    assert torch.equal(read(reg, state, buffers, refresh)[1]["mean"], torch.ones(2))
    copied = bound(cls(0.5, buffers="copy"))
    assert read(copied, state, buffers, refresh)[1] is buffers
    off = bound(cls(cls.strengths()["decay" if cls is EMA else "start"].off))
    kept = off.readout(run(off)[-1], {"w": PATH[-1]}, buffers, lambda p, b: {k: v + 7 for k, v in b.items()})
    assert torch.equal(kept[0]["w"], PATH[-1]) and all(torch.equal(kept[1][k], v) for k, v in buffers.items())


@pytest.mark.parametrize(("alpha", "k"), [(0.5, 5), (0.8, 1), (0.3, 2)])
def test_lookahead_transcription(alpha: float, k: int) -> None:
    """Descent on a quadratic with fast and slow weights, in NumPy and through the sites."""
    reg, curvature, lr = bound(Lookahead(alpha, k=k)), np.array([1.0, 0.3, 5.0]), 0.3
    fast = slow = np.array([1.0, -2.0, 3.0])
    w = torch.tensor(fast)
    state = reg.init({"w": w})
    for step in range(17):
        fast = fast - lr * curvature * fast
        if (step + 1) % k == 0:
            slow = slow + alpha * (fast - slow)
            fast = slow
        ctx = context(step=torch.tensor(step), state=state)
        w = reg.after_step({"w": w - lr * torch.tensor(curvature) * w}, ctx)["w"]
        state = reg.track(state, {"w": w}, ctx)
        np.testing.assert_allclose(w.numpy(), fast, rtol=1e-10)


def test_what_other_steps_made_of_the_slow_weights_is_kept() -> None:
    reg = bound(Lookahead(0.5, k=1))
    state = reg.track(reg.init({"w": torch.zeros(1)}), {"w": torch.ones(1)}, context())
    assert torch.equal(state["slow:w"], torch.ones(1)) and Lookahead.rank < 0
