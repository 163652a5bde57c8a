"""Steps that go back and forth."""

from __future__ import annotations

import math

from temperance.diagnose.finding import Finding
from temperance.diagnose.subject import Subject, dot

PROBES = 12
CLIMBS = 0.1
BACK = -0.7
"""Mean cosine of two gradients in a row from which steps go back and forth."""


def oscillation(subject: Subject) -> list[Finding]:
    """Takes a few full-batch gradient steps on copies of the parameters and looks whether they go back and forth.

    Formula: cos(g_t, g_{t−1}) and the loss over 12 steps θ ← θ − εg. A mean cosine near −1 with a loss that does not fall is oscillation; with a
    falling loss it is a zigzag down a narrow valley. Steps whose loss climbs by a tenth otherwise diverge.

    When: the loss stands still at a height, or climbs.

    Reference: Goodfellow, Bengio & Courville (2016), Deep learning, section 8.2.1.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> data = (torch.tensor([[1.0], [3.0]]), torch.tensor([0.5, 2.5]))
        >>> tp.diagnose(net, data, lr=0.21, checks="oscillation").causes
        ('oscillation',)
    """
    lr = subject.rate
    loss, g = subject.slope
    losses, cosines, norm = [loss], list[float](), math.sqrt(dot(g, g))
    params = subject.params
    for _ in range(PROBES):
        params = {name: p - lr * d for (name, p), d in zip(params.items(), g, strict=True)}
        before, g_before = norm, g
        loss, g = subject.gradient(params)
        norm = math.sqrt(dot(g, g)) if math.isfinite(loss) else math.inf
        losses.append(loss)
        if not math.isfinite(loss + norm):
            break
        cosines.append(dot(g, g_before) / (norm * before) if norm * before > 0 else 1.0)
    late = cosines[len(cosines) // 2 :]
    cosine = math.fsum(late) / len(late) if late else 0.0
    change = losses[-1] - losses[0]
    falls = change < -1e-3 * max(abs(losses[0]), 1e-12)
    value = {"cosine": cosine, "lr": lr, "steps": len(losses) - 1, "loss_before": losses[0], "loss_after": losses[-1]}
    data = {"loss": losses, "cosine": cosines}
    text = (
        f"Over {len(losses) - 1} gradient steps of {lr:g} the loss goes from {losses[0]:.4g} to {losses[-1]:.4g}, and each gradient has a mean cosine of "
        f"{cosine:+.2f} with the one before."
    )
    remedy = f"Lower the learning rate below {lr:g}, or anneal it (Cosine, FlatCosine); standardize inputs; average the weights (EMA, SWA)."
    if cosine < BACK and not falls and norm > 0:
        return [Finding("oscillation", "oscillation", value, text, "bad", remedy, 0.5 - 0.4 * cosine, data)]
    if not math.isfinite(change) or change > CLIMBS * max(abs(losses[0]), 1e-12):
        return [Finding("oscillation", "divergence", value, text, "bad", f"{remedy} GradClip keeps single steps short.", 0.9, data)]
    if cosine < BACK:
        return [Finding("oscillation", "zigzag", value, text, "look", f"Half of {lr:g}, momentum or Adam gets on faster.", data=data)]
    return [Finding("oscillation", "steps", value, text, data=data)]
