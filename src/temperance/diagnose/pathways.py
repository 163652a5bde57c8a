"""Co-adaptation: what single pathways through the network are worth, and how alike units are."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from temperance.diagnose.finding import Finding, Skip
from temperance.diagnose.subject import Subject
from temperance.diagnose.units import each_activation, hidden_activations, with_units

PATHWAYS, KEEP = 20, 0.5
DEPENDENT, ALIKE = 2 / 3, 0.8
WIDEST = 1024
"""Units of a layer up to which correlations are found."""


def pathways(subject: Subject) -> list[Finding]:
    """Measures the loss of single pathways through the network, random halves of the hidden units, and apart from it how alike units are.

    Formula: in each of 20 pathways every hidden layer of U units keeps round(U / 2) of them (one at least), drawn again and multiplied by U over their number.
    Dependence is (mean loss of the pathways − loss of the whole) / (loss of the best constant output − loss of the whole): 0 where every pathway stands
    on its own, 1 where half a network is worth nothing. Correlation is the mean |Pearson correlation| of two units of a layer.

    What: dropout lowers the error of pathways, which is what it means to undo co-adaptation. The correlation of units is something else, and need not fall.

    When: choosing between dropout and other regularizers, or before units are pruned. Never bad by itself: a plain network depends on its units.

    Reference: Hinton et al. (2012), Improving neural networks by preventing co-adaptation of feature detectors; Srivastava et al. (2014).

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = tp.nets.MLP(2, 1, hidden=(2,), activation="identity")
        >>> tp.diagnose(net, (torch.randn(20, 2), torch.randn(20)), checks="pathways").skipped[0][0]
        'pathways'
    """
    watched = hidden_activations(subject)
    whole = subject.loss()
    losses: list[float] = []
    for k in range(PATHWAYS):
        masks: dict[str, Tensor] = {}

        def keep(key: str, name: str, output: Tensor, axis: int, k: int = k, masks: dict[str, Tensor] = masks) -> Tensor:
            if key not in masks:
                masks[key] = _half(subject, k, key, output.shape[axis]).to(output)
            return output * masks[key].reshape([-1 if d == axis else 1 for d in range(output.dim())])

        hooks, calls = with_units(subject, watched, keep)
        with torch.no_grad(), hooks:
            parts: list[float] = []
            for batch, share in subject.chunks():
                calls.clear()
                parts.append(share * float(subject.criterion(subject.output(batch.x), batch)))
        losses.append(math.fsum(parts))
    mean = math.fsum(losses) / PATHWAYS
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in losses) / (PATHWAYS - 1))
    room = None if subject.trivial is None else subject.trivial - whole
    dependence = (mean - whole) / room if room is not None and room > 1e-12 else math.nan
    value = {"loss": whole, "pathway_loss": mean, "pathway_sd": spread, "pathways": PATHWAYS, "keep": KEEP, "dependence": dependence}
    text = f"A random half of the hidden units has a loss of {mean:.4g} (±{spread:.2g}) where the whole network has {whole:.4g}"
    if not math.isnan(dependence):
        text += f": {dependence:.0%} of the way to a constant output" if dependence < 1 else ", and a constant output would be better"
    if dependence > DEPENDENT:
        remedy = "Units rely on each other; Dropout (or GaussianDropout, stochastic depth) makes every pathway stand on its own."
        first = Finding("pathways", "co_adaptation", value, f"{text}.", "look", remedy, data={"losses": losses})
    else:
        first = Finding("pathways", "pathways", value, f"{text}.", data={"losses": losses})
    return [first, *_correlation(subject)]


def _half(subject: Subject, k: int, key: str, n: int) -> Tensor:
    """The mask of a random half of n units, multiplied so that the mean is one."""
    kept = max(1, round(KEEP * n))
    mask = torch.zeros(n)
    mask[subject.rng("pathways", k, key).permutation(n)[:kept]] = n / kept
    return mask


def _correlation(subject: Subject) -> list[Finding]:
    watched = hidden_activations(subject)
    sums: dict[str, tuple[float, Tensor, Tensor]] = {}

    def see(key: str, name: str, h: Tensor, share: float) -> None:
        if h.shape[1] < 2 or h.shape[1] > WIDEST:
            return
        h = h.double()
        n, total, products = sums.get(key, (0.0, torch.zeros((), dtype=h.dtype), torch.zeros((), dtype=h.dtype)))
        sums[key] = (n + len(h), total + h.sum(0), products + h.T @ h)

    try:
        each_activation(subject, watched, see)
    except Skip:
        return []
    layers: list[dict[str, Any]] = []
    for key, (n, total, products) in sums.items():
        covariance = products / n - torch.outer(total / n, total / n)
        sd = covariance.diagonal().clamp_min(0.0).sqrt()
        seen = sd > 1e-6 * sd.max()
        if int(seen.sum()) < 2:
            continue
        inner = covariance[seen][:, seen] / torch.outer(sd[seen], sd[seen])
        size = len(inner)
        mean = float((inner.abs().sum() - inner.diagonal().abs().sum()) / (size * (size - 1)))
        layers.append({"layer": key, "units": size, "correlation": mean})
    if not layers:
        return []
    worst = max(layers, key=lambda row: row["correlation"])
    value = {"largest": worst["correlation"], "layer": worst["layer"]}
    text = f"Two units of a layer have a mean |correlation| of up to {worst['correlation']:.2f} ({worst['layer']})."
    if worst["correlation"] > ALIKE:
        remedy = "Units repeat each other: start from other weights (nets.initialize), drop units (Dropout), or take fewer."
        return [Finding("pathways", "alike_units", value, text, "look", remedy, data={"layers": layers})]
    return [Finding("pathways", "unit_correlation", value, text, data={"layers": layers})]
