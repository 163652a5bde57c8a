"""Products of 16 bits in training: off is what it was, and nothing but products is coarser."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.laws.harness import VARIANTS
from tests.laws.test_trainer_laws import assert_same, members, result, run
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import temperance as tp


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "-" not in name])
def test_every_regularizer_trains(variant: str) -> None:
    """Losses, penalties, parameters, moments and buffers stay in single precision and finite; the numbers are other ones, though near."""
    chosen = members(VARIANTS[variant])[:1]
    fine, coarse = (run(chosen, total_steps=2, check_every=2, precision=precision) for precision in ("fp32", "bf16"))
    outcome = coarse.outcomes[0]
    assert outcome.status == "finished"
    assert all(t.dtype in (torch.float32, torch.int64) and bool(torch.isfinite(t).all()) for t in outcome.final.values())
    # bf16 has 8 bits: products of order one are off by 2^-8 each, and two steps of rate 0.05 move parameters by no more than that times their gradients,
    # which for noise that is searched by a gradient's sign (FGSM, PGD, VAT) may turn where it is small.
    for name, value in fine.outcomes[0].final.items():
        if value.is_floating_point():
            torch.testing.assert_close(outcome.final[name], value, rtol=0.05, atol=0.05, equal_nan=True)


class Products(TorchDispatchMode):
    """Notes in what precision products run, and losses."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.others = set[torch.dtype](), set[torch.dtype]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm", "baddbmm"):
            self.products |= {t.dtype for t in args if isinstance(t, Tensor)}
        elif name in ("_log_softmax", "sqrt", "addcmul_", "addcdiv_"):
            self.others |= {t.dtype for t in args if isinstance(t, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("way", ["vmap", "loop"])
def test_products_are_of_16_bits_and_the_rest_is_not(way: str) -> None:
    rows = tp.data.Dataset(torch.randn(24, 4), torch.eye(3)[torch.arange(24) % 3], "classification")
    made = tp.Population(tp.nets.MLP(4, 3, hidden=(6,)), [tp.Member(tp.Cocktail(tp.L2()))], rows, rows, batch_size=8, total_steps=9, precision="bf16", way=way)
    group = made.chunks[0].group
    with Products() as step:
        group.train_step()
    assert step.products == {torch.bfloat16}
    assert step.others == {torch.float32}
    with Products() as check:
        made.check()
    assert check.products == {torch.float32}


def test_double_precision_stays() -> None:
    """A network of double precision is not made coarser: whoever asks for 53 bits does not mean 8."""
    net = tp.nets.MLP(4, 3, hidden=(6,)).double()
    rows = tp.data.Dataset(torch.randn(24, 4), torch.eye(3)[torch.arange(24) % 3], "classification")
    both = []
    for precision in ("fp32", "bf16"):
        made = tp.Population(net, [tp.Member(tp.Cocktail(tp.L2()))], rows, rows, batch_size=8, total_steps=2, check_every=2, precision=precision)
        made.run()
        both.append(result(made, 0))
    assert_same(*both)


def test_another_precision() -> None:
    rows = tp.data.Dataset(torch.randn(24, 4), torch.eye(3)[torch.arange(24) % 3], "classification")
    with pytest.raises(tp.ConfigError, match="Expected `precision` of Population to be 'fp32' or 'bf16', got 'fp16'"):
        tp.Population(tp.nets.MLP(4, 3), [tp.Member()], rows, precision="fp16")
