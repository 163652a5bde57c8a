"""Element-wise functions that give an element the same bits wherever it stands in a tensor.

Torch computes most of them in vectors and the last few elements one by one, by formulas that differ in the last bit; so a member of a population would
depend on its slot. Where a tensor fills its vectors torch's own kernel is used, otherwise one of the functions below, made of operations without
such a tail: ``tanh``, ``exp``, ``expm1``, ``erf``, ``logsigmoid``. Under ``vmap`` the size is that of one member.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

LANES = 64  # elements: two vectors of the widest registers, for each of two threads


def fills_vectors(x: Tensor) -> bool:
    """Whether torch's own kernels have no elements left over at the end."""
    return x.numel() % LANES == 0


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)).

    Example:
        >>> sigmoid(torch.tensor([0.0, 100.0]))
        tensor([0.5000, 1.0000])
    """
    return torch.sigmoid(x) if fills_vectors(x) else 0.5 * (1.0 + torch.tanh(0.5 * x))


def silu(x: Tensor) -> Tensor:
    """The input times its sigmoid (Elfwing et al., 2018)."""
    return x * sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    """The input times the normal distribution function of it (Hendrycks & Gimpel, 2016)."""
    return x * (0.5 * (1.0 + torch.erf(x * math.sqrt(0.5))))


def gelu_tanh(x: Tensor) -> Tensor:
    """The approximation of :func:`gelu` by tanh."""
    return x * (0.5 * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * (x * x * x)))))


def elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, width: float = 1.0) -> Tensor:
    """Scale · x above zero, scale · alpha (exp(x / width) - 1) below."""
    return scale * torch.where(x > 0, x, alpha * torch.expm1(x.clamp_max(0.0) / width))


def softplus(x: Tensor, beta: float = 1.0) -> Tensor:
    """log(1 + exp(beta x)) / beta."""
    return -F.logsigmoid(-beta * x) / beta


def mish(x: Tensor) -> Tensor:
    """The input times the tanh of its softplus (Misra, 2019)."""
    return x * torch.tanh(softplus(x))
