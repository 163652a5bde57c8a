"""The change of the loss that one gradient step is going to make."""

from __future__ import annotations

import math

from temperance.diagnose.finding import Finding
from temperance.diagnose.subject import Subject, dot


def step(subject: Subject) -> list[Finding]:
    """Predicts by how much one gradient step at the learning rate changes the loss; a step is too large where that is above zero.

    Formula: ½ ε² gᵀHg − ε gᵀg with the gradient g and the Hessian H of the mean loss: exact for a quadratic. It is zero at the critical rate
    2 gᵀg / gᵀHg; half of that is the best step along this gradient.

    When: the loss does not fall, or falls in jerks. It is about a plain gradient step on all rows; momentum, Adam and minibatches step otherwise.

    Reference: Goodfellow, Bengio & Courville (2016), Deep learning, section 4.3.1.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> data = (torch.tensor([[1.0], [3.0]]), torch.tensor([0.5, 2.5]))
        >>> tp.diagnose(net, data, lr=0.3, checks="step").causes
        ('step_size',)
    """
    lr = subject.rate
    loss, g = subject.slope
    squared, bend = dot(g, g), subject.bend
    change = 0.5 * lr**2 * bend - lr * squared
    after = subject.loss(subject.moved(g, -lr))
    critical = 2 * squared / bend if bend > 0 else math.inf
    value = {"lr": lr, "predicted": change, "measured": after - loss, "critical_lr": critical, "loss": loss}
    who = f" (taken from {subject.stepped}, whose own steps differ)" if subject.stepped not in ("", "SGD") else ""
    text = f"A gradient step of {lr:g}{who} is predicted to change the loss {loss:.4g} by {change:+.4g}; it changes it by {after - loss:+.4g}."
    if change > 0:
        remedy = (
            f"Take a learning rate below {critical:.3g}, best {critical / 2:.3g}, or anneal it (Cosine, FlatCosine) after a WarmUp; "
            "standardized inputs, GradClip, Adam and Adadelta bear larger ones."
        )
        scale = abs(loss) if subject.trivial is None else max(abs(loss), subject.trivial)
        return [Finding("step", "step_size", value, text, "bad", remedy, 0.5 + 0.5 * min(1.0, change / max(scale, 1e-12)))]
    if critical < 2 * lr:
        return [Finding("step", "step_size", value, text, "look", f"The best step along this gradient is {critical / 2:.3g}.")]
    return [Finding("step", "step", value, text)]
