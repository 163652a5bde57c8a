"""Muon: steps of hidden weight matrices whose directions all have about the same length."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from temperance.core.wiring import Wiring
from temperance.train.optimizers.adam import AdamW

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ = 5
MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SHORTEST = 1e-7  # a matrix is divided by its Frobenius norm, by no less than this


def hidden_matrices(model: nn.Module, weights: Iterable[str], wiring: Wiring) -> dict[str, torch.Size]:
    """Weight matrices of linear layers and kernels whose outputs a later layer reads, with their shapes as matrices: one row an output unit.

    Args:
        model: the network.
        weights: names of its weights.
        wiring: what a pass has shown; a module that it has not shown has no hidden matrix, nor has one that shares its weight.

    Example:
        >>> from temperance.core.wiring import declared
        >>> net = nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(9, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> hidden_matrices(net, ["0.weight", "3.weight", "5.weight"], declared(net))
        {'0.weight': torch.Size([3, 10]), '3.weight': torch.Size([4, 9])}
    """
    feeding, modules = {call.name for call in wiring.calls if call.feeds}, dict(model.named_modules())
    owners = Counter(parameter for _, parameter in model.named_parameters(remove_duplicate=False))
    out: dict[str, torch.Size] = {}
    for name in weights:
        owner, _, own = name.rpartition(".")
        parameter = model.get_parameter(name)
        if owner in feeding and own == "weight" and isinstance(modules[owner], MATRICES) and owners[parameter] == 1:
            out[name] = torch.Size((parameter.shape[0], parameter.shape[1:].numel()))
    return out


def orthogonalized(matrices: Tensor) -> Tensor:
    r"""The nearest half-orthogonal matrices, about: singular values from a few hundredths of the Frobenius norm on come to lie between .7 and 1.2.

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

    It is for the matrices of hidden linear layers and kernels (a row an output unit), whose m <- momentum m + g; NS are five Newton-Schulz steps, after
    which singular values are about one. So a step changes what a layer does by ``lr``, along rare directions as along frequent ones. The output layer,
    embedding tables, encodings of numbers, tied weights, biases and norms are AdamW's, with ``adam_lr``, which follows the schedule of ``lr``. Which is which
    a pass through the network shows. Regularizers that ask for the learning rate, as ``WeightDecay``, are told ``lr`` for all weights; ``weight_decay`` has
    each weight's own rate. A square layer of n units takes 15 n^3 multiply-adds more a step: with 256 rows and 128 units 2.5 times its gradient.

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
