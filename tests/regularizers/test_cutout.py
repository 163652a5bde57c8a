import math

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import bound, context

from temperance.core.batch import full_batch
from temperance.regularizers import CutOut


def cut(size: float, x: object, seed: int = 0) -> object:
    rows = len(x["num"]) if isinstance(x, dict) else len(x)  # type: ignore[arg-type]
    return bound(CutOut(size), torch.float32).batch(full_batch(x, torch.zeros(rows, 1)), context(seed)).x


def expected_length(size: int, side: float) -> float:
    """The mean number of pixels of one side whose middle is nearer than side / 2 to a uniform point of it."""
    middle = np.arange(size) + 0.5
    return float((np.minimum(middle + side / 2, size) - np.maximum(middle - side / 2, 0)).sum() / size)


@pytest.mark.parametrize("size", [(8, 20), (13, 7), (10, 10), (2, 30)])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_the_hole_is_a_square_of_that_area(size: tuple[int, int], share: float) -> None:
    """In pixels, whatever the shape of the image; the same for all channels; cut off at the edge."""
    rows, side = 3000, math.sqrt(share * size[0] * size[1])
    x = torch.rand(rows, 2, *size, generator=torch.Generator().manual_seed(0)) + 1.0
    out = cut(share, x)
    assert isinstance(out, torch.Tensor)
    hole = out[:, 0] == 0
    assert torch.equal(hole, out[:, 1] == 0) and torch.equal(out[~hole.unsqueeze(1).expand_as(out)], x[~hole.unsqueeze(1).expand_as(x)])
    tall, wide = hole.any(2), hole.any(1)
    assert torch.equal(hole, tall.unsqueeze(2) & wide.unsqueeze(1))
    for marks, length in ((tall, size[0]), (wide, size[1])):
        jumps = (marks[:, 1:] != marks[:, :-1]).sum(1)
        assert (jumps <= 2).all()
        within = ~marks[:, 0] & ~marks[:, -1] & marks.any(1)
        counts = marks[within].sum(1)
        assert ((counts >= math.floor(side)) & (counts <= math.ceil(side))).all()
        assert marks.sum(1).max() <= min(length, math.ceil(side))
    mean, spread = hole.flatten(1).float().mean().item(), hole.flatten(1).float().mean(1).std().item()
    theory = expected_length(size[0], side) * expected_length(size[1], side) / (size[0] * size[1])
    assert abs(mean - theory) < 5 * spread / math.sqrt(rows)
    assert mean <= share + 1e-9


def test_a_table_loses_a_share_of_its_columns() -> None:
    """Numbers and codes alike, each row its own; 0 is the mean and the missing value."""
    x = {"num": torch.rand(2000, 6) + 1.0, "cat": torch.randint(1, 9, (2000, 4))}
    out = cut(0.3, x)
    assert isinstance(out, dict)
    for name, leaf in out.items():
        gone = leaf == 0
        assert leaf.dtype == x[name].dtype and torch.equal(leaf[~gone], x[name][~gone])
        assert ((gone.float().mean(0) - 0.3).abs() < 5 * math.sqrt(0.21 / 2000)).all()
    together = torch.cat([out["num"] == 0, out["cat"] == 0], 1).float()
    correlation = np.corrcoef(together.numpy().T)[~np.eye(10, dtype=bool)]
    assert np.abs(correlation).max() < 5 / math.sqrt(2000)


def test_off_returns_what_was_given_bit_for_bit() -> None:
    x = torch.randn(3, 1, 6, 8)
    x[0, 0, 0, 0] = math.nan
    out = cut(0.0, x)
    assert isinstance(out, torch.Tensor)
    assert torch.equal(out.view(torch.int32), x.view(torch.int32))


def test_noise_fills_rectangles_of_the_same_area() -> None:
    """Random erasing: the standard deviation of the inputs, and height over width log-uniform between 0.3 and 3.3."""
    x = torch.full((2000, 1, 40, 40), 9.0)
    make = CutOut(0.04, fill="noise", shape="rectangle")
    out = bound(make, torch.float32).batch(full_batch(x, torch.zeros(2000, 1)), context(0, constants={"input_scale": torch.tensor(0.5)})).x
    hole = out[:, 0] != 9.0
    noise = out[:, 0][hole]
    assert abs(noise.mean()) < 5 * 0.5 / len(noise) ** 0.5 and abs(noise.std() / 0.5 - 1) < 5 / len(noise) ** 0.5
    tall, wide = hole.any(2), hole.any(1)
    assert torch.equal(hole, tall.unsqueeze(2) & wide.unsqueeze(1))
    within = ~(tall[:, 0] | tall[:, -1] | wide[:, 0] | wide[:, -1])
    heights, widths = tall[within].sum(1).double(), wide[within].sum(1).double()
    assert abs((heights * widths).mean() / 64.0 - 1) < 0.05  # sides are whole pixels: right in the mean, and drawn apart
    ratios = (heights / widths).log()
    assert ratios.abs().max() < math.log(3.3) + 0.3 and abs(ratios.mean()) < 0.1 and abs(ratios.std() / (2 * math.log(3.3) / 12**0.5) - 1) < 0.1
    codes = {"num": torch.zeros(500, 3), "cat": torch.ones(500, 3, dtype=torch.int64)}
    found = bound(CutOut(0.3, fill="noise"), torch.float32).batch(full_batch(codes, torch.zeros(500, 1)), context()).x
    assert set(found["cat"].unique().tolist()) == {0, 1} and (found["num"] != 0).double().mean() == pytest.approx(0.3, abs=0.06)
