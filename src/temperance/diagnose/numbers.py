"""Numbers that are not finite."""

from __future__ import annotations

import torch

from temperance.diagnose.finding import Finding
from temperance.diagnose.subject import Subject, some


def numbers(subject: Subject) -> list[Finding]:
    """Finds NaN and infinite numbers in parameters, buffers, outputs and the loss.

    Formula: counts entries x with x ≠ x or |x| = ∞.

    When: first of all; where it is bad the other checks that need the loss are left out.

    Reference: Goodfellow, Bengio & Courville (2016), Deep learning, section 8.2.4.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(2, 1)
        >>> _ = torch.nn.init.constant_(net.weight, float("nan"))
        >>> tp.diagnose(net, (torch.zeros(4, 2), torch.rand(4)), checks="numbers").causes
        ('not_finite',)
    """
    broken = [name for name, t in {**subject.params, **subject.fixed}.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
    loss = subject.loss()
    rows = 0
    with torch.no_grad():
        for batch, _ in subject.chunks():
            out = subject.output(batch.x)
            parts = list(out.values()) if isinstance(out, dict) else [out]
            rows += int(torch.stack([~torch.isfinite(part).flatten(1).all(1) for part in parts]).any(0).sum())
    bad = bool(broken) or rows > 0 or loss - loss != 0
    value = {"loss": loss, "tensors": len(broken), "rows": rows}
    if not bad:
        return [Finding("numbers", "numbers", value, f"Every parameter, buffer and output is finite; the loss is {loss:.4g}.")]
    where = f" in {some(broken)}" if broken else ""
    text = f"{len(broken)} tensors of the network{where} and the outputs of {rows} rows hold NaN or infinite numbers; the loss is {loss:.4g}."
    remedy = "Go back to an earlier state, then lower the learning rate, warm it up (WarmUp), clip gradients (GradClip) and bound weights (MaxNorm)."
    return [Finding("numbers", "not_finite", value, text, "bad", remedy, 1.0)]
