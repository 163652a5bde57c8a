"""Units that say nothing: dead ones, and ones that are stuck at the end of their range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError
from temperance.core.selector import Hidden, Units, modules_matching
from temperance.diagnose.finding import Finding, Skip, graded, weight_of
from temperance.diagnose.subject import Subject, hooked

DEAD, SATURATED = (0.1, 0.4), (0.2, 0.5)
STUCK = 0.95
"""Share of the rows at the end of the range from which a unit counts as saturated."""

RANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "Tanh": lambda h: h.abs() > 0.98,
    "Sigmoid": lambda h: (h < 0.01) | (h > 0.99),
    "Softsign": lambda h: h.abs() > 0.98,
    "Hardtanh": lambda h: h.abs() >= 1.0,
    "Hardsigmoid": lambda h: (h <= 0.0) | (h >= 1.0),
    "ReLU6": lambda h: h >= 6.0,
}
"""Where a unit's slope is a few hundredths of its steepest, or zero."""


def units(subject: Subject) -> list[Finding]:
    """Counts dead units, whose output is the same for every row, and saturated ones, at the end of their range for 95 % of the rows.

    Formula: dead where max − min of the unit's output over rows (and positions) is at most 1e-6 of the layer's largest output, as of a ReLU that is never
    active; saturated where |tanh| > 0.98, or a sigmoid is outside [0.01, 0.99].

    What: the calls of activation modules that a later layer reads are watched, found from a pass, whatever the order of declaration; output units are
    not judged. ``F.relu`` and the gates of recurrent layers are no modules and stay unseen. A unit is a column, or the channel of a convolution.

    When: layers learn slowly or not at all. A few dead units are usual after training, and harmless.

    Reference: Maas, Hannun & Ng (2013), Rectifier nonlinearities improve neural network acoustic models; Glorot & Bengio (2010), Understanding the
    difficulty of training deep feedforward neural networks.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = tp.nets.MLP(2, 1, hidden=(8,))
        >>> _ = torch.nn.init.constant_(net.hidden[0].linear.bias, -100.0)
        >>> tp.diagnose(net, (torch.randn(50, 2), torch.randn(50)), checks="units").causes
        ('dead_units',)
    """
    watched = hidden_activations(subject)
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    stuck: dict[str, Tensor] = {}
    tests = {name: RANGES[type(module).__name__] for name, module in watched.items() if type(module).__name__ in RANGES}

    def see(key: str, name: str, h: Tensor, share: float) -> None:
        if not len(h):
            return
        low[key] = torch.minimum(low[key], h.amin(0)) if key in low else h.amin(0)
        high[key] = torch.maximum(high[key], h.amax(0)) if key in high else h.amax(0)
        if name in tests:
            part = share * tests[name](h).double().mean(0)
            stuck[key] = stuck[key] + part if key in stuck else part

    each_activation(subject, watched, see)
    layers: list[dict[str, Any]] = []
    for key, largest in high.items():
        size = torch.maximum(largest.abs(), low[key].abs()).max()
        dead = (largest - low[key]) <= 1e-6 * size
        row = {"layer": key, "units": len(dead), "dead": int(dead.sum()), "dead_share": float(dead.double().mean())}
        if key in stuck:
            ends = (stuck[key] >= STUCK) & ~dead
            row |= {"saturated": int(ends.sum()), "saturated_share": float(ends.double().mean())}
        layers.append(row)
    return [_dead(layers), *([_saturated(rows)] if (rows := [row for row in layers if "saturated" in row]) else [])]


def _dead(layers: list[dict[str, Any]]) -> Finding:
    total, dead = sum(row["units"] for row in layers), sum(row["dead"] for row in layers)
    worst = max(layers, key=lambda row: row["dead_share"])
    value = {"dead": dead, "units": total, "worst_layer": worst["layer"], "worst_share": worst["dead_share"]}
    text = f"{dead} of {total} hidden units give the same output for every row"
    text += f", most of them in {worst['layer']} ({worst['dead']} of {worst['units']})." if dead else "."
    verdict = graded(worst["dead_share"], *DEAD)
    remedy = "" if verdict == "fine" else "Take smaller steps with a WarmUp, smaller first biases, leaky_relu, gelu or elu units, or norms (norm='batch')."
    name = "units" if verdict == "fine" else "dead_units"
    return Finding("units", name, value, text, verdict, remedy, weight_of(worst["dead_share"], DEAD[1]), {"layers": layers})


def _saturated(layers: list[dict[str, Any]]) -> Finding:
    total, ends = sum(row["units"] for row in layers), sum(row["saturated"] for row in layers)
    worst = max(layers, key=lambda row: row["saturated_share"])
    value = {"saturated": ends, "units": total, "worst_layer": worst["layer"], "worst_share": worst["saturated_share"]}
    text = f"{ends} of {total} bounded units stand at the end of their range for {STUCK:.0%} of the rows"
    text += f", most of them in {worst['layer']} ({worst['saturated']} of {worst['units']})." if ends else "."
    verdict = graded(worst["saturated_share"], *SATURATED)
    remedy = "" if verdict == "fine" else "Shrink weights (L2, WeightDecay, MaxNorm), standardize inputs, add norms (norm='batch'), or take ReLU-like units."
    name = "saturation" if verdict == "fine" else "saturated_units"
    return Finding("units", name, value, text, verdict, remedy, weight_of(worst["saturated_share"], SATURATED[1]), {"layers": layers})


def hidden_activations(subject: Subject) -> dict[str, nn.Module]:
    """Activation modules of hidden units.

    Raises:
        Skip: none.
    """
    return {name: subject.model.get_submodule(name) for name in hidden_units(subject).layers}


def hidden_units(subject: Subject) -> Units:
    """The calls of activation modules that are hidden.

    Raises:
        Skip: none.
    """
    try:
        return modules_matching(Hidden(), subject.model, "diagnose", subject.wiring)
    except ConfigError as error:
        outputs = Hidden().candidates(subject.model)
        why = "no later layer reads its activation modules" if outputs else "F.relu has no module; nn.ReLU has"
        raise Skip(f"the network has no hidden activation modules ({why})") from error


def unit_axis(out: Tensor, convolved: bool) -> int:
    """The dimension that counts units: channels after a convolution, else the last one."""
    return 1 if out.dim() > 1 and (convolved or out.dim() == 2) else out.dim() - 1


def with_units(subject: Subject, watched: dict[str, nn.Module], act: Callable[[str, str, Tensor, int], Tensor | None]) -> Any:
    """Hooks that call ``act(key, name, output, axis of the units)`` and put what it returns in the output's place.

    A module called several times in a pass has one key a call; calls are counted again where the model is.
    """
    hidden = hidden_units(subject)
    calls: dict[str, int] = {}
    convolved: list[bool] = [False]
    weighted = {name: m for name, m in subject.model.named_modules() if name not in watched and any(p.dim() >= 2 for p in m.parameters(recurse=False))}

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> Any:
        if name not in watched:
            convolved[0] = isinstance(module, nn.modules.conv._ConvNd)  # pyright: ignore[reportPrivateUsage] -- torch has no public base of its convolutions
            return None
        call = calls.get(name, 0)
        calls[name] = call + 1
        if not isinstance(output, Tensor) or output.dim() < 2 or hidden.layer(name, call) is None:
            return None
        return act(name if call == 0 else f"{name}, call {call + 1}", name, output, unit_axis(output, convolved[0]))

    return hooked({**weighted, **watched}, note), calls


def each_activation(subject: Subject, watched: dict[str, nn.Module], see: Callable[[str, str, Tensor, float], None]) -> None:
    """Show ``see(key, name, units as columns, share of the rows)`` every hidden output over all rows."""
    current = [0.0]

    def act(key: str, name: str, output: Tensor, axis: int) -> None:
        see(key, name, output.detach().movedim(axis, -1).flatten(0, -2), current[0])

    hooks, calls = with_units(subject, watched, act)
    with torch.no_grad(), hooks:
        for batch, share in subject.chunks():
            calls.clear()
            current[0] = share
            subject.output(batch.x)
    if not calls:
        raise Skip("no hidden activation module takes part in a pass")
