"""Muon: steps of hidden weight matrices whose directions all have about the same length."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from temperance.core.wiring import Wiring
from temperance.train.optimizers.adam import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ = 5
SHORTEST = 1e-7  # a matrix is divided by its Frobenius norm, by no less than this


def hidden_matrices(model: nn.Module, weights: Iterable[str], wiring: Wiring) -> dict[str, torch.Size]:
    """Weight matrices and kernels whose outputs a later layer reads, with their shapes as matrices: one row an output unit.

    Args:
        model: the network.
        weights: names of its weights.
        wiring: what a pass has shown; a module that it has not shown has no hidden matrix.

    Example:
        >>> from temperance.core.wiring import declared
        >>> net = nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> hidden_matrices(net, ["0.weight", "3.weight", "5.weight"], declared(net))
        {'0.weight': torch.Size([3, 10]), '3.weight': torch.Size([4, 9])}
    """
    feeding, shapes = {call.name for call in wiring.calls if call.feeds}, dict(model.named_parameters())
    out: dict[str, torch.Size] = {}
    for name in weights:
        owner, shape = name.rpartition(".")[0], shapes[name].shape
        if owner in feeding and (len(shape) == 2 or isinstance(model.get_submodule(owner), (nn.Conv1d, nn.Conv2d, nn.Conv3d))):
            out[name] = torch.Size((shape[0], shape[1:].numel()))
    return out


def orthogonalized(matrices: Tensor) -> Tensor:
    r"""The nearest half-orthogonal matrices, about: with singular values between .7 and 1.2 in place of what they were.

    Five steps :math:`X \leftarrow a X + (b A + c A^2) X`, :math:`A = X X^\top`, from :math:`X = G / \max(\|G\|_F, 10^{-7})`; a matrix with more rows than
    columns is turned first.

    Args:
        matrices: ``(members, rows, columns)``.

    Example:
        >>> found = torch.linalg.svdvals(orthogonalized(torch.tensor([[[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]]])))
        >>> bool(((found > 0.6) & (found < 1.3)).all())
        True
    """
    a, b, c = COEFFICIENTS
    turned, members = matrices.shape[1] > matrices.shape[2], matrices.shape[0]
    x = (matrices.mT if turned else matrices).contiguous()  # the layout decides how a product is summed
    if members == 1:  # a single product runs through another kernel than a batch of them
        x = torch.cat([x, x])
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp_min(SHORTEST)
    for _ in range(NEWTON_SCHULZ):
        gram = torch.bmm(x, x.mT)
        x = a * x + torch.bmm(b * gram + c * torch.bmm(gram, gram), x)
    return (x.mT if turned else x)[:members]


@dataclass(frozen=True, eq=False)
class Muon(AdamW):
    r"""Momentum whose steps are orthogonalized: W <- (1 - lr decay) W - lr √max(1, rows / columns) NS(g + momentum m) (Jordan et al., 2024).

    It is for hidden weight matrices and kernels (a row an output unit), whose m <- momentum m + g; NS are five Newton-Schulz steps, after which all singular
    values are about one. So a step changes what a layer does by ``lr``, along rare directions as along frequent ones. The output layer, embedding tables,
    encodings of numbers, biases and norms are AdamW's, with ``adam_lr``, which follows the schedule of ``lr``. Which is which a pass through the network
    shows. A step costs 30 times the cube of a layer's width in multiply-adds and more: with 256 rows and 128 units about as much as the gradient.

    Example:
        >>> Muon(lr=0.02, adam_lr=0.003).hypers()["adam_lr"]
        0.003
    """

    lr: Any = 0.02
    momentum: float = 0.95
    adam_lr: float = 1e-3
    by_matrix: ClassVar[bool] = True
    legal: ClassVar[Mapping[str, str]] = {**AdamW.legal, "momentum": "[0, 1)", "adam_lr": "(0, inf)"}
    reference: ClassVar[str] = "Jordan et al., 2024"

    def update(self, theta: Tensor, grad: Tensor, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], lr: Tensor, t: Any, decayed: int) -> None:
        if theta.dim() == 2:
            super().update(theta, grad, slots, h, lr * (h["adam_lr"] / h["lr"]), t, decayed)
            return
        m, (_, rows, columns) = slots["m"], theta.shape
        m.mul_(h["momentum"]).add_(grad)
        step = orthogonalized(grad.add_(m * h["momentum"]))
        theta.mul_(1.0 - lr * h["weight_decay"]).sub_(step.mul_(lr * math.sqrt(max(1.0, rows / columns))))

    def scale(self, slots: Mapping[str, Tensor], h: Mapping[str, Tensor], t: Any) -> Tensor | None:
        return None  # a step of a matrix divides no single coordinate
