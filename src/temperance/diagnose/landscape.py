"""Where training stands: a saddle, a plateau, a cliff, or none of them."""

from __future__ import annotations

import math

from temperance.diagnose.finding import Finding, weight_of
from temperance.diagnose.subject import Subject, dot

REACHES = (0.01, 0.03, 0.1, 0.3, 1.0)
REMEDY = "One step may jump far away: clip gradients (GradClip), bound weights (MaxNorm), take smaller steps."
FLAT, GAIN, HIGH, STEEP, SHARP = 0.05, 0.05, 0.5, 100.0, 1e4


def landscape(subject: Subject) -> list[Finding]:
    """Finds saddles, plateaus and cliffs from the gradient's norm and the Hessian's eigenvalues.

    Formula: with the loss's scale s (that of the best constant output) and R = max(1, ‖θ‖), steepness is ‖g‖ R / s and sharpness max|D| R² / s. Saddle:
    little steepness, a negative eigenvalue with direction v, and ½ (J(θ + rv) + J(θ − rv)) at least 5 % of s below J(θ) for some r ≤ R. Plateau:
    neither steep nor sharp while the loss is above half of s. Cliff: steepness above 100 and sharpness above 10⁴.

    When: training has come to rest at a loss that should be lower, or jumps far away. A negative eigenvalue alone says little: almost every trained
    network has some, which is why the loss along its direction is measured.

    Reference: Dauphin et al. (2014), Identifying and attacking the saddle point problem; Pascanu, Mikolov & Bengio (2013), On the difficulty of
    training recurrent neural networks.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = tp.nets.MLP(1, 1, hidden=(3,), activation="tanh")  # at zero every hidden unit is silent, and no gradient tells it to speak
        >>> _ = [torch.nn.init.zeros_(p) for p in net.parameters()]
        >>> x = torch.linspace(-1, 1, 20)
        >>> tp.diagnose(net, (x[:, None], x.clone()), checks="landscape").causes
        ('saddle',)
    """
    loss, g = subject.slope
    found, reach = subject.spectrum, subject.radius
    scale = max(abs(loss) if subject.trivial is None else subject.trivial, 1e-12)
    slope = math.sqrt(dot(g, g))
    steep, sharp = slope * reach / scale, max(abs(found.low), abs(found.high)) * reach**2 / scale
    value = {"loss": loss, "scale": scale, "gradient": slope, "steepness": steep, "sharpness": sharp, "smallest": found.low, "largest": found.high}
    if steep < FLAT and found.low < 0:
        v = found.directions[0]
        best = (0.0, 0.0)
        for share in REACHES:
            up, down = (subject.loss(subject.moved(v, sign * share * reach)) for sign in (1, -1))
            if math.isfinite(up + down):
                best = max(best, (loss - (up + down) / 2, share * reach))
        value |= {"gain": best[0], "distance": best[1]}
        if min(best[0], -0.5 * found.low * reach**2) > GAIN * scale:  # and not a far place that the curvature here knows nothing of
            text = (
                f"The gradient is almost zero ({slope:.3g}), yet along the direction of the eigenvalue {found.low:.3g} the loss falls from {loss:.4g} by "
                f"{best[0]:.3g} on both sides: a saddle."
            )
            remedy = "Perturb the weights (GradientNoise, smaller batches), use momentum or Adam, and start from random weights (nets.initialize)."
            return [Finding("landscape", "saddle", value, text, "bad", remedy, weight_of(best[0] / scale, GAIN))]
    if steep < FLAT / 5 and sharp < FLAT and loss > HIGH * scale:
        text = f"Gradient ({slope:.3g}) and curvature (up to {found.high:.3g}) are both almost zero while the loss is {loss:.4g}: a plateau."
        remedy = "Look for saturated or dead units, start from other weights (nets.initialize), normalize layers (norm='batch'), take Adam or larger steps."
        return [Finding("landscape", "plateau", value, text, "look" if subject.trivial is None else "bad", remedy, 0.6)]
    if steep > STEEP and sharp > SHARP:
        text = f"Gradient ({slope:.3g}) and curvature (up to {found.high:.3g}) are both large for a loss of {loss:.4g}: a cliff."
        return [Finding("landscape", "cliff", value, text, "bad", REMEDY, weight_of(steep, STEEP))]
    text = f"Neither saddle, plateau nor cliff: gradient {slope:.3g}, eigenvalues of the Hessian from {found.low:.3g} to {found.high:.3g}."
    return [Finding("landscape", "landscape", value, text)]
