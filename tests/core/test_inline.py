"""The random primitives spelled out are the primitives."""

from __future__ import annotations

import pytest
import torch

from temperance.core import random
from temperance.core.inline import INLINE
from temperance.core.random import key_of

KEYS = torch.stack([key_of(i) for i in range(3)])
RATES = torch.tensor([0.0, 0.3, 0.999])
STREAM = 12345678901234567


@pytest.mark.parametrize("n", [1, 2, 7, 128])
def test_bits_masks_and_permutations_are_the_same_numbers(n: int) -> None:
    ops = torch.ops.temperance
    for op, args in (
        (ops.bits.default, (KEYS, STREAM, n)),
        (ops.keep_mask.default, (KEYS, RATES, STREAM, n, torch.float32)),
        (ops.uniform.default, (KEYS, STREAM, n, torch.float64)),
    ):
        assert torch.equal(op(*args), INLINE[op](*args)), op


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_the_same_but_for_the_last_bit(dtype: torch.dtype) -> None:
    """Vectors and single elements of log, cos and exp differ in the last bit: two units in the last place of the largest value."""
    ops = torch.ops.temperance
    args = (KEYS, STREAM, 101, dtype)
    ours, theirs = INLINE[ops.normal.default](*args), ops.normal.default(*args)
    assert ours.dtype == theirs.dtype == dtype
    torch.testing.assert_close(ours, theirs, rtol=0.0, atol=2 * torch.finfo(dtype).eps * float(theirs.abs().max()))


def test_every_primitive_that_fills_rows_and_columns_is_spelled_out() -> None:
    """One that is not would be a call out of the compiled program; what is left draws one number or one row of numbers per member."""
    made = {name for name in dir(random) if name.startswith("_op_")}
    assert len(made) == len(INLINE) + len({"_op_words", "_op_perm", "_op_beta"} & made)
