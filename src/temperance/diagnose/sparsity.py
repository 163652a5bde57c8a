"""Weights at zero and near it."""

from __future__ import annotations

from temperance.core.selector import Weights
from temperance.diagnose.finding import Finding, Skip
from temperance.diagnose.subject import Subject, some

NEAR = 1e-2


def sparsity(subject: Subject) -> list[Finding]:
    """Counts weights that are exactly zero, and ones below a hundredth of their layer's root mean square.

    Formula: shares of w = 0 and of |w| < 0.01 √(mean w²), for every weight matrix or kernel and for all.

    When: after L1, group lasso or pruning, to see what they did. A layer without any weight passes nothing on, and is bad.

    Reference: Tibshirani (1996), Regression shrinkage and selection via the lasso.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(4, 1)
        >>> _ = net.weight.data.copy_(torch.tensor([[0.0, 0.0, 0.001, 2.0]]))
        >>> found = tp.diagnose(net, (torch.randn(9, 4), torch.randn(9)), checks="sparsity")["sparsity"].value
        >>> found["zero"], found["near"]
        (0.5, 0.25)
    """
    tensors = {**subject.params, **subject.fixed}
    names = [name for name in Weights().match(subject.model) if name in tensors and tensors[name].numel()]
    if not names:
        raise Skip("the network has no weight matrices")
    layers: list[dict[str, object]] = []
    zeros = nears = total = 0
    empty: list[str] = []
    for name in names:
        w = tensors[name].double()
        zero = int((w == 0).sum())
        near = int((w.abs() < NEAR * w.square().mean().sqrt()).sum()) - zero if zero < w.numel() else 0
        layers.append({"layer": name, "weights": w.numel(), "zero": zero / w.numel(), "near": near / w.numel()})
        zeros, nears, total = zeros + zero, nears + near, total + w.numel()
        if zero == w.numel():
            empty.append(name)
    value = {"zero": zeros / total, "near": nears / total, "weights": total, "empty_layers": len(empty)}
    text = f"{zeros / total:.1%} of {total:,} weights are exactly zero, a further {nears / total:.1%} are below a hundredth of their layer's size."
    if empty:
        remedy = "Lower the strengths of L1, L2 and the like, or start from random weights (nets.initialize)."
        return [Finding("sparsity", "empty_layers", value, f"{text} All weights of {some(empty)} are zero.", "bad", remedy, 0.7, {"layers": layers})]
    return [Finding("sparsity", "sparsity", value, text, data={"layers": layers})]
