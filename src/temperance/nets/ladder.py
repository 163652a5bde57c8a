"""Ladder network: an encoder whose every layer is rebuilt from a corrupted pass."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from temperance.core.elementwise import sigmoid
from temperance.core.errors import ConfigError, expected
from temperance.nets.activations import activation as make_activation
from temperance.nets.mlp import check_widths


class Corruption(nn.Identity):
    """Marks a place of a corrupted pass: noise of hidden units with ``where=tp.selectors.outputs_of("Corruption", except_output=False)`` acts here."""


class Reconstruction(nn.Module):
    """The cost of a reconstruction, a number per row: ``weight`` times the mean of the squared error over units.

    Its output is what ``tp.Denoising`` adds to the loss.

    Args:
        weight: factor of the cost.

    Shapes:
        two tensors ``(n, ...)`` to ``(n,)``.

    Example:
        >>> Reconstruction(0.5)(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]))
        tensor([1.])
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, rebuilt: Tensor, target: Tensor) -> Tensor:
        return self.weight * (rebuilt - target).square().flatten(1).mean(1)

    def extra_repr(self) -> str:
        return f"weight={self.weight:g}"


class Combine(nn.Module):
    r"""Rebuilds a unit from its corrupted value z and from what comes down the decoder, u: :math:`(z - \mu(u))\,v(u) + \mu(u)`.

    Both :math:`\mu` and v are :math:`a_1 \sigma(a_2 u + a_3) + a_4 u + a_5` with parameters of their own for every unit.

    Args:
        width: number of units.

    Shapes:
        two tensors ``(n, width)`` to ``(n, width)``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        start = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0] * 2)
        self.units = nn.Parameter(start.repeat_interleave(width))  # flat: not a weight matrix, which L2 and others would take it for

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        a = self.units.reshape(10, 1, -1).unbind(0)
        mu = a[0] * sigmoid(a[1] * u + a[2]) + a[3] * u + a[4]
        v = a[5] * sigmoid(a[6] * u + a[7]) + a[8] * u + a[9]
        return (z - mu) * v + mu


class LadderNet(nn.Module):
    r"""Fully connected classifier or regressor with lateral connections to a decoder that rebuilds each of its layers.

    In training a clean and a corrupted pass run side by side. With :math:`z_0 = x`,

    .. math:: z_l = N(W_l h_{l-1}), \quad h_l = \phi(\gamma_l (z_l + \beta_l)),

    N the normalization over the rows of the minibatch; the corrupted pass is the same with noise on every :math:`\tilde z_l`. The decoder goes
    down, :math:`u_l = N(V_{l+1} \hat z_{l+1})`, and rebuilds :math:`\hat z_l = g_l(\tilde z_l, u_l)` (:class:`Combine`). The cost of a layer is
    the mean over its units of the squared difference of :math:`z_l` and :math:`\hat z_l`, the latter normalized by the clean mean and standard deviation.
    The output in training is that of the corrupted pass; in evaluation only the clean one runs.

    Noise and costs are the cocktail's: ``HiddenNoise`` acts on the :class:`Corruption` modules, ``Denoising`` adds the outputs of the
    :class:`Reconstruction` modules to the loss.

    Args:
        in_features: number of inputs of a row after flattening.
        out_features: number of outputs.
        hidden: widths of the hidden layers.
        activation: name of :math:`\phi`, a key of ``temperance.nets.ACTIVATIONS``.
        costs: weight of each layer's reconstruction, the inputs first and the outputs last; by default 1 for the inputs and 0.1 for the others.

    Shapes:
        ``(n, ...)``, flattened to ``(n, in_features)``, to ``(n, out_features)``; at least two rows in training.

    Raises:
        ConfigError: a width below one, an unknown activation, a number of costs other than one per layer.

    Source:
        Rasmus, Valpola, Honkala, Berglund and Raiko, *Semi-supervised learning with ladder networks* (2015).

    Example:
        >>> net = LadderNet(6, 3, hidden=(8,))
        >>> net(torch.randn(5, 6)).shape, [round(r.weight, 1) for r in net.rebuilt]
        (torch.Size([5, 3]), [1.0, 0.1, 0.1])
    """

    def __init__(
        self, in_features: int, out_features: int, hidden: Sequence[int] = (256, 256), activation: str = "relu", costs: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        (inputs,), (outputs,) = check_widths("in_features", "LadderNet", (in_features,)), check_widths("out_features", "LadderNet", (out_features,))
        widths = (inputs, *check_widths("hidden", "LadderNet", hidden), outputs)
        costs = (1.0, *[0.1] * (len(widths) - 1)) if costs is None else tuple(costs)
        if len(costs) != len(widths) or min(costs) < 0:
            mend = "Inputs and outputs count as layers."
            raise ConfigError(expected("costs", "LadderNet", f"to be {len(widths)} numbers in [0, inf), one per layer", costs, mend))
        self.encoder = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b, affine=False) for b in widths[1:])
        self.shifts = nn.ParameterList(torch.zeros(b) for b in widths[1:])
        self.scales = nn.ParameterList(torch.ones(b) for b in widths[1:])
        self.activations = nn.ModuleList(make_activation(activation) for _ in widths[1:-1])
        self.corruptions = nn.ModuleList(Corruption() for _ in widths)
        self.decoder = nn.ModuleList(nn.Linear(b, a, bias=False) for a, b in pairwise(widths))
        self.combine = nn.ModuleList(Combine(b) for b in widths)
        self.rebuilt = nn.ModuleList(Reconstruction(float(cost)) for cost in costs)
        self.width = outputs

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1) if x.dim() == 1 else x.flatten(1)
        h, clean, moments = x, [x], [(torch.zeros_like(x[0]), torch.ones_like(x[0]))]
        for i, (layer, norm) in enumerate(zip(self.encoder, self.norms, strict=True)):
            before = layer(h)
            if self.training:
                moments.append(_moments(before))
            clean.append(norm(before))
            h = self._up(i, clean[-1])
        if not self.training:
            return h
        noisy = [self.corruptions[0](x)]
        out = noisy[0]
        for i, layer in enumerate(self.encoder):
            noisy.append(_joint(self.corruptions[i + 1](_normalized(layer(out)))))
            out = self._up(i, noisy[-1])
        out = _joint(out)
        u = _normalized(out)
        for i in reversed(range(len(clean))):
            rebuilt = self.combine[i](noisy[i], u)
            mean, deviation = moments[i]
            self.rebuilt[i]((rebuilt - mean) / deviation, clean[i])
            if i:
                u = _normalized(self.decoder[i - 1](rebuilt))
        return out

    def _up(self, i: int, z: Tensor) -> Tensor:
        """From the normalized values of a layer to its output."""
        h = self.scales[i] * (z + self.shifts[i])
        return self.activations[i](h) if i < len(self.activations) else h


def _joint(z: Tensor) -> Tensor:
    """The same values, for a place where gradients join: their sum goes on row by row in memory, whatever layout its parts have.

    So a decoder whose costs count for nothing does not change the last bit of the gradients below.
    """
    return z.reshape(-1).reshape(z.shape)


def _moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every unit over rows."""
    mean = z.mean(0)
    return mean, ((z - mean).square().mean(0) + 1e-5).sqrt()


def _normalized(z: Tensor) -> Tensor:
    mean, deviation = _moments(z)
    return (z - mean) / deviation
