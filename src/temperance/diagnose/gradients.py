"""How the gradient fares on its way back through layers and through time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.selector import EMBEDDINGS, NORMS
from temperance.diagnose.finding import Finding, Skip, Verdict, graded, weight_of
from temperance.diagnose.subject import Subject, hooked, some

VANISHED, EXPLODED = (1e-2, 1e-4), (1e2, 1e3)
FORGOTTEN, BLOWN = (1e-3, 0.0), (1e1, 1e2)
CALLS = 4
"""Calls of one module in one pass from which they are taken for steps of time."""


def gradients(subject: Subject) -> list[Finding]:
    """Compares the gradient that reaches each layer, and each step of time of recurrent layers, with the one at the end of the network.

    Formula: the signal at a layer's output h is √(mean over rows of ‖∂J_i/∂h_i‖²), with the loss J_i of one row, so that it does not cancel where the
    mean gradient does. The first layer's signal over the last one's tells of vanishing (below 1e-4) and exploding (above 1000) gradients; over time,
    the first step's over the last one's (exploding above 100; below 0.001 is worth a look, as forgetting may be right).

    What: layers are modules that own a matrix or kernel. A module called four times and more in one pass is recurrent, its calls are the steps;
    ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` run all steps in one call, so the gradient in their inputs is taken. The norms of the parameters' own
    gradients are listed by layer too.

    When: deep or recurrent networks that do not learn, or whose loss jumps.

    Reference: Hochreiter (1991); Bengio, Simard & Frasconi (1994), Learning long-term dependencies with gradient descent is difficult.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = tp.nets.MLP(2, 1, hidden=(4,) * 8, activation="sigmoid")
        >>> tp.diagnose(net, (torch.randn(50, 2), torch.randn(50)), checks="gradients").causes
        ('vanishing_gradients',)
    """
    layers, times = _signals(subject)
    found = [_by_depth(subject, layers)] if len(layers) > 1 else []
    found += [_by_time(name, steps) for name, steps in times.items()]
    if not found:
        raise Skip("the network has a single layer")
    return found


def _signals(subject: Subject) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The signal at every layer, in the order of the calls, and at every step of what is recurrent."""
    modules = {name: module for name, module in subject.model.named_modules() if name and any(True for _ in module.parameters())}
    layers = {name for name, module in modules.items() if _is_layer(module)}
    whole = {name: module for name, module in modules.items() if isinstance(module, nn.RNNBase)}
    squares: dict[str, list[float]] = {}
    steps: dict[str, Tensor] = {}
    seen: list[tuple[str, Tensor]] = []

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        out = _tensor(inputs[0] if name in whole else output)
        if out is not None and out.requires_grad:
            seen.append((name, out))

    leaves = subject.leaves()
    starts = [module.register_forward_pre_hook(_differentiable) for module in whole.values()]
    try:
        with hooked(modules, note):
            for batch, share in subject.chunks():
                seen.clear()
                rows = len(batch.row_id)
                loss = subject.criterion(subject.output(batch.x, leaves), batch) * rows
                if not loss.requires_grad or not seen:
                    raise Skip("no gradient passes through the layers")
                calls: dict[str, int] = {}
                grads = torch.autograd.grad(loss, [out for _, out in seen], allow_unused=True)
                for (name, out), g in zip(seen, grads, strict=True):
                    if g is None:  # nothing that the loss depends on
                        continue
                    if name in whole:
                        if out.dim() == 3:
                            squared = g.double().square().sum(-1).mean(0 if whole[name].batch_first else 1)
                            steps[name] = share * squared + steps[name] if name in steps else share * squared
                        continue
                    call, known = calls.get(name, 0), squares.setdefault(name, [])
                    calls[name] = call + 1
                    known += [0.0] * (call + 1 - len(known))
                    known[call] += share * float(g.double().square().sum()) / (rows if rows in out.shape else max(1, len(out)))
    finally:
        for handle in starts:
            handle.remove()
    times = {name: [math.sqrt(v) for v in values] for name, values in squares.items() if len(values) >= CALLS}
    times |= {name: values.sqrt().tolist() for name, values in steps.items() if len(values) >= CALLS}
    outer = {name: values for name, values in times.items() if not any(name.startswith(f"{other}.") for other in times)}
    return {name: math.sqrt(values[-1]) for name, values in squares.items() if name in layers and name not in times}, outer


def _by_depth(subject: Subject, layers: dict[str, float]) -> Finding:
    _, g = subject.slope
    norms: dict[str, float] = {}
    for name, part in zip(subject.params, g, strict=True):
        owner = name.rpartition(".")[0]
        norms[owner] = math.hypot(norms.get(owner, 0.0), float(part.double().norm()))
    names, signals = list(layers), list(layers.values())
    last = signals[-1]
    ratio = signals[0] / last if last > 0 else 1.0
    silent = [name for name, norm in norms.items() if norm == 0]
    data = {"layers": [{"layer": name, "signal": layers[name], "gradient": norms.get(name)} for name in names], "unused": silent}
    value = {"ratio": ratio, "first": signals[0], "last": last, "layers": len(names), "without_gradient": len(silent)}
    text = f"From the last of {len(names)} layers to the first the gradient changes by a factor of {ratio:.3g}."
    if silent:
        text += f" No gradient at all reaches {some(silent)}."
    verdict, name, severity = _judged(ratio, VANISHED, EXPLODED)
    remedies = {
        "vanishing": "Take ReLU-like activations, skips (skip=True), norms (norm='batch') and a matching initialization (nets.initialize); Adam rescales.",
        "exploding": "Clip gradients (GradClip), bound weights (MaxNorm, L2, WeightDecay), start from smaller weights (nets.initialize), normalize layers.",
    }
    return Finding("gradients", f"{name}_gradients" if name else "gradients", value, text, verdict, remedies.get(name, ""), severity, data)


def _by_time(module: str, steps: list[float]) -> Finding:
    last = max(steps[-1], 1e-300)
    ratio = steps[0] / last if max(steps) > 0 else 1.0
    value = {"module": module, "ratio": ratio, "steps": len(steps), "first": steps[0], "last": steps[-1]}
    text = f"Back through the {len(steps)} steps of {module} the gradient changes by a factor of {ratio:.3g}."
    verdict, name, severity = _judged(ratio, FORGOTTEN, BLOWN)
    remedies = {
        "vanishing": "If early steps matter, take LSTM or GRU cells, or shorter sequences.",
        "exploding": "Clip gradients (GradClip), bound or decay the recurrent weights (MaxNorm, L2), take LSTM or GRU cells.",
    }
    full = f"{name}_gradients_in_time" if name else "gradients_in_time"
    return Finding("gradients", full, value, text, verdict, remedies.get(name, ""), severity, {"module": module, "steps": steps})


def _judged(ratio: float, low: tuple[float, float], high: tuple[float, float]) -> tuple[Verdict, str, float]:
    """Verdict, what it is called, and how severe it is."""
    if ratio < low[0]:
        return "look" if ratio >= low[1] else "bad", "vanishing", weight_of(-math.log10(max(ratio, 1e-30)), -math.log10(low[0]))
    if ratio > high[0] or not math.isfinite(ratio):
        return graded(ratio, *high), "exploding", weight_of(math.log10(ratio) if math.isfinite(ratio) else math.inf, math.log10(high[1]))
    return "fine", "", 0.0


def _is_layer(module: nn.Module) -> bool:
    if isinstance(module, (*NORMS, *EMBEDDINGS)):
        return False
    return any(p.dim() >= 2 for p in module.parameters(recurse=False))


def _differentiable(module: nn.Module, inputs: Any) -> Any:
    """Inputs that a gradient can be taken in, where the data itself is the input."""
    x = inputs[0]
    return None if not isinstance(x, Tensor) or x.requires_grad else (x.detach().requires_grad_(), *inputs[1:])


def _tensor(output: Any) -> Tensor | None:
    while isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None
