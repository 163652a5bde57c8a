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
