"""Element-wise functions against torch's own, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from temperance.core import elementwise

PAIRS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "sigmoid": (elementwise.sigmoid, torch.sigmoid),
    "silu": (elementwise.silu, F.silu),
    "gelu": (elementwise.gelu, F.gelu),
    "gelu_tanh": (elementwise.gelu_tanh, partial(F.gelu, approximate="tanh")),
    "elu": (partial(elementwise.elu, alpha=0.5), partial(F.elu, alpha=0.5)),
    "celu": (partial(elementwise.elu, alpha=2.0, width=2.0), partial(F.celu, alpha=2.0)),
    "selu": (partial(elementwise.elu, alpha=1.6732632423543772, scale=1.0507009873554805), F.selu),
    "softplus": (elementwise.softplus, F.softplus),
    "softplus of beta 2": (partial(elementwise.softplus, beta=2.0), partial(F.softplus, beta=2.0, threshold=1e9)),
    "mish": (elementwise.mish, F.mish),
}


@pytest.mark.parametrize("n", [7, 64])
@pytest.mark.parametrize("name", sorted(PAIRS))
def test_values_and_slopes_are_those_of_torch(name: str, n: int) -> None:
    """Sizes that fill the vectors and sizes that do not; a few roundings apart."""
    found = list[Tensor]()
    for function in PAIRS[name]:
        x = torch.linspace(-6.0, 6.0, n, dtype=torch.float64, requires_grad=True)
        y = function(x)
        found += [y.detach(), torch.autograd.grad(y.sum(), x)[0]]
    torch.testing.assert_close(found[0], found[2], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found[1], found[3], rtol=1e-12, atol=1e-14)
