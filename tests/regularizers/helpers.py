"""A plain full-batch descent with a cocktail, and contexts made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.random import Rng, key_of, stream_of
from temperance.core.regularizer import Context, Regularizer


def context(seed: int = 0, **fields: Any) -> Context:
    """The context of a site called by hand."""
    return Context(rng=Rng(key_of(seed), stream_of("test", "site")), **fields)


def bound(regularizer: Regularizer, dtype: torch.dtype = torch.float64) -> Any:
    """A copy whose strengths are tensors."""
    return regularizer.bind({name: torch.tensor(float(value), dtype=dtype) for name, value in regularizer.values().items()})


class Loop:
    """Gradient descent on one network with a cocktail: every site, one member, no vmap."""

    def __init__(self, cocktail: Cocktail, model: nn.Module, criterion: Criterion, constants: Any = None, seed: int = 0, planned: int = 100) -> None:
        self.program = Program(cocktail, model, criterion, constants)
        self.params = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.buffers = {name: b.clone() for name, b in model.named_buffers()}
        dtype = next(iter(self.params.values())).dtype
        self.values = {name: torch.tensor(v, dtype=dtype) for name, v in cocktail.strengths().items()}
        self.state, self.step, self.seed, self.planned, self.dtype = self.program.init(self.params), 0, seed, planned, dtype

    def moment(self, lr: float) -> Moment:
        def number(v: float) -> Tensor:
            return torch.tensor(v, dtype=self.dtype)

        return Moment(step_key(key_of(self.seed), self.step), torch.tensor(self.step), number(self.step / self.planned), number(lr), number(1.0))

    def gradient(self, batch: Batch, lr: float = 0.1) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Loss, report, gradients and buffers at the parameters of now."""
        leaves = {name: p.detach().clone().requires_grad_() for name, p in self.params.items()}
        total, report, buffers, _ = self.program.loss(leaves, self.buffers, self.state, self.values, self.moment(lr), batch)
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        found = {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(leaves.items(), grads, strict=True)}
        return total.detach(), {k: v.detach() for k, v in report.items()}, found, buffers

    def descend(self, batch: Batch, lr: float, steps: int) -> dict[str, Tensor]:
        for _ in range(steps):
            moment = self.moment(lr)
            _, _, grads, buffers = self.gradient(batch, lr)
            self.buffers = {name: b.detach() for name, b in buffers.items()}
            grads = self.program.change_grads(grads, self.params, self.state, self.values, moment)
            stepped = {name: p - lr * grads[name] for name, p in self.params.items()}
            self.params = self.program.after_step(stepped, self.state, self.values, replace(moment, before=self.params))
            self.state = self.program.track(self.state, self.params, self.values, moment)
            self.step += 1
        return self.params


def linear_rows(n: int = 40, d: int = 6, seed: int = 0) -> Batch:
    """Rows of a linear regression without intercept, in double precision."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64)
    w = torch.tensor([2.0, -1.0, 0.5, 0.0, 0.0, 0.0][:d], dtype=torch.float64)
    y = x @ w + 0.3 * torch.randn(n, generator=g, dtype=torch.float64)
    return full_batch(x, y.unsqueeze(1), weight=torch.ones(n, dtype=torch.float64))


def linear_net(d: int = 6, out: int = 1, bias: bool = False) -> nn.Module:
    """A network without a hidden layer, starting at zero, in double precision."""
    net = nn.Linear(d, out, bias=bias).double()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    return net
