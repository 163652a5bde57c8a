import math

import pytest
import torch
from hypothesis import given, strategies as st

from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError
from temperance.core.schedule import SCHEDULES, Constant, Cosine, Exponential, FlatCosine, InverseTime, Linear, Restarts, StepDecay, UntilEnd, WarmUp
from temperance.regularizers import L2

GRID = torch.linspace(0, 1, 201, dtype=torch.float64)


def values(schedule) -> torch.Tensor:
    return schedule.with_value(torch.tensor(2.0, dtype=torch.float64)).at(GRID)


def test_formulas() -> None:
    p = GRID
    torch.testing.assert_close(values(Cosine(2.0)), 1 + torch.cos(math.pi * p))
    torch.testing.assert_close(values(Linear(2.0, end=0.25)), 2 * (1 - 0.75 * p))
    torch.testing.assert_close(values(WarmUp(2.0, fraction=0.2)), 2 * (p / 0.2).clamp_max(1))
    down = 1 + torch.cos(math.pi * ((p - 0.6) / 0.4).clamp_min(0))
    torch.testing.assert_close(values(FlatCosine(2.0, flat=0.6)), down)
    torch.testing.assert_close(values(Cosine(2.0, warmup=0.1, end=0.5))[p >= 0.1], 2 * (0.75 + 0.25 * torch.cos(math.pi * (p[p >= 0.1] - 0.1) / 0.9)))


def test_against_torch_cosine_annealing() -> None:
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    mine = Cosine(torch.tensor(0.3, dtype=torch.float64))
    for step in range(50):
        assert mine.at(torch.tensor(step / 50, dtype=torch.float64)).item() == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


def test_restarts_begin_again_at_the_top() -> None:
    schedule = Restarts(torch.tensor(1.0, dtype=torch.float64), cycles=3, growth=2.0)
    starts = torch.tensor([0.0, 1 / 7 + 1e-12, 3 / 7 + 1e-12], dtype=torch.float64)
    torch.testing.assert_close(schedule.at(starts), torch.ones(3, dtype=torch.float64))
    assert schedule.at(torch.tensor(1 / 7 - 1e-9, dtype=torch.float64)) < 1e-6


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 1))
def test_between_zero_and_the_peak(name: str, progress: float) -> None:
    schedule = SCHEDULES[name](torch.tensor(1.0, dtype=torch.float64))
    value = schedule.at(torch.tensor(progress, dtype=torch.float64)).item()
    assert -1e-12 <= value <= 1 + 1e-12


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_member_of_a_population_gets_its_own(name: str) -> None:
    peaks = torch.tensor([0.1, 0.5, 2.0])
    schedule = SCHEDULES[name](1.0)
    together = torch.vmap(lambda v: schedule.with_value(v).at(torch.tensor(0.37)))(peaks)
    torch.testing.assert_close(together, torch.stack([schedule.with_value(v).at(torch.tensor(0.37)) for v in peaks]), rtol=0, atol=0)


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(0.1),
        Cosine(0.1, warmup=0.2, end=0.1),
        FlatCosine(0.1, flat=0.3),
        Linear(0.1, end=0.2),
        WarmUp(0.1),
        Restarts(0.1, cycles=2),
        Exponential(0.1, end=0.2),
        StepDecay(0.1, decay=0.5, drops=3),
        InverseTime(0.1, rate=2.0),
        UntilEnd(0.1, off=0.2),
    ],
)
def test_json_and_static(schedule) -> None:
    again = Cocktail.from_json(Cocktail(L2(schedule)).to_json()).regularizers[0].lam
    assert again.static() == schedule.static() and again.value == schedule.value
    assert schedule.with_value(0.7).static() == schedule.static()
    assert schedule.needs_progress is (type(schedule) is not Constant)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cosine(1.0, end=2.0),
        lambda: WarmUp(1.0, fraction=-0.1),
        lambda: FlatCosine(1.0, flat=1.5),
        lambda: Cosine(1.0, warmup=1.2),
        lambda: UntilEnd(1.0, off=-0.1),
    ],
)
def test_shares_are_between_zero_and_one(make) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `\w+` of \w+ in \[0, 1\], got .* share"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Restarts(1.0, cycles=0), r"`cycles` of Restarts to be a whole number in \[1, inf\), got 0"),
        (
            lambda: Restarts(1.0, cycles=2.5),  # pyright: ignore[reportArgumentType]
            r"`cycles` of Restarts to be a whole number",
        ),
        (lambda: Restarts(1.0, growth=0.0), r"`growth` of Restarts in \(0, inf\), got 0.0. Use 1"),
        (lambda: Restarts(1.0, growth=math.nan), r"`growth` of Restarts"),
        (lambda: Exponential(1.0, end=0.0), r"`end` of Exponential in \(0, 1\], got 0.0"),
        (lambda: StepDecay(1.0, decay=0.0), r"`decay` of StepDecay in \(0, 1\]"),
        (lambda: StepDecay(1.0, drops=0), r"`drops` of StepDecay to be a whole number"),
        (lambda: InverseTime(1.0, rate=-1.0), r"`rate` of InverseTime in \[0, inf\)"),
        (
            lambda: Linear(1.0, end="low"),  # pyright: ignore[reportArgumentType]
            r"`end` of Linear in \[0, 1\], got 'low'",
        ),
        (lambda: Cosine(1.0, warmup=True), r"`warmup` of Cosine in \[0, 1\], got True"),
    ],
)
def test_fields_out_of_range(make, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^Expected {message}"):
        make()


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_infinity_at_which_caps_are_off_stays(name: str) -> None:
    """Also where the factor is zero, and beside members whose value is a number."""
    made = SCHEDULES[name](torch.tensor([math.inf, 2.0]))
    for progress in (0.0, 0.5, 1.0):
        off, on = made.at(torch.tensor(progress)).tolist()
        assert off == math.inf and 0.0 <= on <= 2.0


def test_a_strength_ends_before_the_run_does() -> None:
    """In ten steps with a last fifth off, the first eight are on; the end of the run is off even with a share of zero steps left."""
    for off, on in ((0.2, 8), (0.0, 10), (1.0, 0)):
        values = [UntilEnd(torch.tensor(0.3), off=off).at(torch.tensor(step / 10)).item() for step in range(10)]
        assert values == pytest.approx([0.3] * on + [0.0] * (10 - on))


def test_a_progress_that_is_rounded_down_has_dropped_all_the_same() -> None:
    schedule = StepDecay(torch.tensor(1.0), decay=0.5, drops=3)
    for done in (1, 2, 3):
        below = torch.nextafter(torch.tensor(done / 4), torch.tensor(0.0))
        assert schedule.at(below).item() == pytest.approx(0.5**done)
        assert schedule.at(torch.tensor(done / 4 - 0.001)).item() == pytest.approx(0.5 ** (done - 1))
