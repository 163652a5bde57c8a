"""The rivals' loop computes what the package computes, and their clock counts what it says."""

from __future__ import annotations

import time

import pytest
import torch

import temperance as tp
from benchmarks import rivals

N, FEATURES, CLASSES, HIDDEN, STEPS, LR = 48, 6, 3, (16, 16), 60, 3e-3
EXACT = {"label_smoothing.epsilon": 0.1, "weight_decay.lam": 0.3, "ema.decay": 0.9, "l2.lam": 1e-2, "l1.lam": 1e-2}


def rows() -> rivals.Part:
    generator = torch.Generator().manual_seed(0)
    return rivals.Part(torch.randn(N, FEATURES, generator=generator), torch.arange(N) % CLASSES)


@pytest.mark.parametrize("names", [(), *((name,) for name in EXACT), tuple(EXACT)])
def test_the_loop_and_the_package_reach_the_same_weights(names: tuple[str, ...]) -> None:
    """One batch of all rows: its order does not matter, so what draws no random numbers must agree up to rounding.

    Adam divides by the root of the second moment, so that a rounding error of a gradient near zero may move a weight by a share of the learning
    rate; over 60 steps of at most LR that stays far below LR itself, and a term left out or scaled otherwise shows as many times LR.
    """
    strengths = {name: EXACT[name] for name in names}
    part = rows()
    network = tp.nets.build_seeded(lambda: tp.nets.MLP(FEATURES, CLASSES, hidden=HIDDEN), 0)
    cocktail = tp.Cocktail(tp.LabelSmoothing(), tp.WeightDecay(), tp.EMA(), tp.L2(), tp.L1()).off().with_strengths(strengths)
    optimizer = tp.optim.AdamW(tp.schedules.FlatCosine(LR, flat=rivals.FLAT, warmup=rivals.WARMUP))
    data = tp.data.as_dataset(part.x, part.y.numpy(), classes=tuple(range(CLASSES)))
    done = tp.fit(network, [tp.Member(cocktail, optimizer)], data, validation=None, steps=STEPS, batch_size=N)
    with torch.random.fork_rng():
        model = rivals.network(FEATURES, CLASSES, HIDDEN, 0.0)
        model.load_state_dict(dict(zip(model.state_dict(), network.state_dict().values(), strict=True)))
        loop = rivals.Loop(part, CLASSES, strengths, LR, hidden=HIDDEN, batch=N, total=STEPS, model=model)
        for t in range(STEPS):
            loop.step(t)
    ours = torch.cat([p.detach().flatten() for p in done.model.parameters()])
    theirs = torch.cat([p.detach().flatten() for p in loop.shipped.parameters()])
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    assert float((theirs - start).abs().mean()) > 10 * LR  # it has moved far more than the tolerance
    torch.testing.assert_close(theirs, ours, rtol=0.0, atol=LR / 10)


def test_training_is_repeatable_and_random_strengths_change_it() -> None:
    part = rows()

    def weights(**strengths: float) -> torch.Tensor:
        with torch.random.fork_rng():
            named = {name.replace("__", "."): value for name, value in strengths.items()}
            last = list(rivals.train(part, part, CLASSES, named, LR, hidden=HIDDEN, batch=16, epochs=3, seed=5))[-1]
        assert last.step == 9
        return torch.cat([p.detach().flatten() for p in last.network.parameters()])

    plain = weights()
    assert torch.equal(plain, weights())
    for name in ("mixup__alpha", "input_noise__sigma", "dropout__rate", "dropout__input_rate"):
        assert not torch.equal(plain, weights(**{name: 0.3})), name


def test_an_unknown_strength_is_refused() -> None:
    part = rows()
    with pytest.raises(ValueError, match=r"got 'sam.rho'"):
        next(rivals.train(part, part, CLASSES, {"sam.rho": 0.1}, LR, hidden=HIDDEN, batch=16, epochs=1, seed=0))


def test_the_schedule_is_the_package_s() -> None:
    total = 50
    expected = tp.schedules.FlatCosine(torch.tensor(1.0), flat=rivals.FLAT, warmup=rivals.WARMUP).factor(torch.arange(total, dtype=torch.float64) / total)
    torch.testing.assert_close(torch.tensor(rivals.schedule(total), dtype=torch.float64), expected, rtol=0.0, atol=1e-12)


def test_the_clock_counts_waits_and_not_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, wall = [10.0], [100.0]
    monkeypatch.setattr(time, "process_time", lambda: cpu[0])
    monkeypatch.setattr(time, "perf_counter", lambda: wall[0])
    clock = rivals.Clock(start=10.0)
    cpu[0] += 2.0
    assert clock.now() == 2.0
    with clock.uncounted():
        cpu[0] += 4.0
    assert clock.now() == 2.0
    with clock.waiting():  # five seconds by the wall, one of them computing
        cpu[0] += 1.0
        wall[0] += 5.0
    assert clock.now() == 7.0 and clock.waited == 4.0 and clock.free == 4.0
