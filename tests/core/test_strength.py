import math

import pytest
import torch
from hypothesis import given, strategies as st

from temperance.core.errors import ConfigError
from temperance.core.regularizer import Regularizer, _from_json, _to_json
from temperance.core.schedule import Cosine
from temperance.core.strength import Interval, check_strength, options_of, strength, strengths_of
from temperance.regularizers import L1, L2, Dropout, GradClip, Lookahead


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[0, 1)", (0.0, 0.5, 0.999), (-1e-9, 1.0)),
        ("(0, inf]", (1e-300, math.inf), (0.0, -1.0)),
        ("[0, inf)", (0.0, 1e300), (math.inf, -0.1)),
        ("[0, 1]", (0.0, 1.0), (1.1, math.nan)),
    ],
)
def test_intervals(text: str, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    assert all(v in Interval(text) for v in inside)
    assert not any(v in Interval(text) for v in outside)


def test_the_message_names_field_owner_interval_value_and_mend() -> None:
    with pytest.raises(ConfigError) as caught:
        L1(-0.1)
    assert str(caught.value) == "Expected `lam` of L1 in [0, inf), got -0.1. Use 0 to switch it off; useful values lie between 1e-07 and 0.01."
    with pytest.raises(ConfigError, match=r"Expected `norm` of GradClip in \(0, inf\], got 0.0. Use inf to switch it off"):
        GradClip(0.0)


def test_an_off_value_outside_the_interval_is_legal_and_named() -> None:
    spec = strength(2.0, off=0.0, low=1.0, high=3.0, valid="[1, 3]").metadata["strength"]
    assert check_strength("a", "Owner", 0.0, spec) == 0.0
    with pytest.raises(ConfigError, match=r"in \[1, 3\] or 0, got 0.5"):
        check_strength("a", "Owner", 0.5, spec)


def test_scalar_tensors_and_integers_are_numbers_and_vectors_are_not() -> None:
    assert L2(torch.tensor(0.5)).lam == 0.5 and type(L2(1).lam) is float
    with pytest.raises(ConfigError, match=r"For one value per member use Cocktail.grid"):
        L2(torch.tensor([0.1, 0.2]))


def test_a_schedule_is_checked_at_its_peak() -> None:
    assert L2(Cosine(0.1)).lam.value == 0.1
    with pytest.raises(ConfigError, match=r"Expected `lam` of L2 in \[0, inf\), got -1.0"):
        L2(Cosine(-1.0))


def test_declarations_are_listed_in_order() -> None:
    assert list(strengths_of(Dropout)) == ["rate", "input_rate"] and list(options_of(Dropout)) == ["mask", "share_calls", "dropped"]
    assert Lookahead.strengths()["alpha"].off == 1.0


@given(st.floats(allow_nan=False))
def test_numbers_survive_json(value: float) -> None:
    assert _from_json(_to_json(value)) == value


def test_is_off_reads_the_peak_of_a_schedule() -> None:
    assert L2(Cosine(0.0)).is_off() and not L2(Cosine(0.1)).is_off()
    assert not Regularizer().is_off()


def test_binding_makes_tensors_and_evaluates_schedules() -> None:
    reg = L2(Cosine(0.2)).bind({"lam": torch.tensor(0.2)}, torch.tensor(0.5))
    torch.testing.assert_close(reg.lam, torch.tensor(0.1))
    torch.testing.assert_close(L2(0.3).bind().lam, torch.tensor(0.3))
    torch.testing.assert_close(L2(Cosine(0.3)).bind().lam, torch.tensor(0.3))


@pytest.mark.parametrize("name", ["1st", "a b", "", "a.b"])
def test_names_are_identifiers(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^Expected `name` of L2 to be an identifier"):
        L2(name=name)


def test_an_unfit_where_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Expected `where` of L2 to be a selector or a name pattern, got 3"):
        L2(where=3)
