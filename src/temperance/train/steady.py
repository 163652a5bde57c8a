"""Arithmetic whose last bit does not depend on who trains beside: what the bitwise laws of a population rest on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core import elementwise


class SteadyNorm(nn.modules.batchnorm._BatchNorm):  # pyright: ignore[reportPrivateUsage] -- torch has no public base of its batch norms
    """BatchNorm by plain operations over the rows of one member.

    Under ``vmap`` torch's own kernel lays the channels of all members side by side and sums them in vector lanes, so that a member's sums depend on
    its slot wherever the channels do not fill the lanes. Measured on a CPU: as fast as the kernel, and the same bits in every slot.
    """

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        given, input = input.dtype, input.float() if input.dtype == torch.bfloat16 else input  # statistics are not of 16 bits
        across = [0, *range(2, input.dim())]
        wide = (-1, *[1] * (input.dim() - 2))
        if self.training or self.running_mean is None or self.running_var is None:
            count = input.numel() // input.shape[1]
            if count == 1:
                raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(input.shape)}")
            mean = input.mean(across)
            centred = input - mean.reshape(wide)
            var = centred.square().mean(across)
            if self.training:
                self._note(mean.detach(), var.detach() * (count / (count - 1)))
        else:
            mean, var = self.running_mean, self.running_var
            centred = input - mean.reshape(wide)
        scale = torch.rsqrt(var + self.eps)
        if self.weight is None:
            return (centred * scale.reshape(wide)).to(given)
        return (centred * (self.weight * scale).reshape(wide) + self.bias.reshape(wide)).to(given)

    def _note(self, mean: Tensor, var: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = (
            self.num_batches_tracked.to(mean.dtype).reciprocal()
            if self.momentum is None
            else torch.full_like(self.num_batches_tracked, self.momentum, dtype=mean.dtype)
        )
        self.running_mean.copy_(torch.lerp(self.running_mean, mean, share))
        self.running_var.copy_(torch.lerp(self.running_var, var, share))


_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_STEADY: dict[type[nn.Module], type[nn.Module]] = {kind: type(kind.__name__, (SteadyNorm, kind), {}) for kind in _NORMS}


def _activation(kind: type[nn.Module], function: Callable[[Any, Tensor], Tensor]) -> type[nn.Module]:
    """The activation, by the given function where torch's kernel would give an element other bits in another place."""

    def forward(self: Any, input: Tensor) -> Tensor:
        return kind.forward(self, input) if elementwise.fills_vectors(input) else function(self, input)

    return type(kind.__name__, (kind,), {"forward": forward})


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_FUNCTIONS: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Sigmoid: lambda m, x: elementwise.sigmoid(x),
    nn.SiLU: lambda m, x: elementwise.silu(x),
    nn.GELU: lambda m, x: elementwise.gelu(x) if m.approximate == "none" else elementwise.gelu_tanh(x),
    nn.ELU: lambda m, x: elementwise.elu(x, m.alpha),
    nn.CELU: lambda m, x: elementwise.elu(x, m.alpha, width=m.alpha),
    nn.SELU: lambda m, x: elementwise.elu(x, _SELU_ALPHA, _SELU_SCALE),
    nn.Softplus: lambda m, x: elementwise.softplus(x, m.beta),
    nn.Mish: lambda m, x: elementwise.mish(x),
}
_STEADY |= {kind: _activation(kind, function) for kind, function in _FUNCTIONS.items()}


def steady(model: nn.Module) -> None:
    """Let every BatchNorm and activation module of torch in a network compute so; parameters, buffers and names stay."""
    for module in model.modules():
        if type(module) in _STEADY:
            module.__class__ = _STEADY[type(module)]


@cache
def steady_products() -> bool:
    """Whether a matrix product gives the same bits wherever its operands and its result lie in memory, tried on a few.

    The package asks MKL for that when it is imported (``MKL_CBWR``); it comes too late in a process that has multiplied matrices before.
    """
    a, b = (torch.linspace(-1.0, 1.0, 8 * 16 * n).sin().reshape(8, 16, n) for n in (13, 7))
    together = torch.bmm(a.mT, b)
    return all(torch.equal(together[k : k + 2], torch.bmm(a[k : k + 2].clone().mT, b[k : k + 2].clone())) for k in range(7))
