"""Autoencoder: a network that rebuilds its inputs, and the tangents that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.mlp import MLP, Dense


class Contraction(nn.Module):
    """The cost of an encoder that moves with its inputs, a number per row: the sum of the squares of its Jacobian.

    ``tp.Denoising(lam, where=tp.selectors.outputs_of("Contraction", except_output=False))`` adds it to the loss.

    Shapes:
        Jacobians ``(n, code, inputs)`` to ``(n,)``.
    """

    def forward(self, jacobian: Tensor) -> Tensor:
        return jacobian.square().flatten(1).sum(1)


class Autoencoder(nn.Module):
    r"""Fully connected network that rebuilds its input: :math:`\hat x = g(f(x))`, f the encoder and g the decoder, its mirror image.

    Train it as regression of x on x. With noise on the inputs in the cocktail (``InputNoise``, ``Dropout(0, input_rate=...)``) it is a denoising
    autoencoder; with ``contractive`` and ``Denoising(lam, where=tp.selectors.outputs_of("Contraction", except_output=False))`` a contractive one, whose cost is
    :math:`\lambda \lVert \partial f / \partial x \rVert_F^2`.

    Args:
        in_features: number of inputs of a row after flattening.
        hidden: widths of the encoder's layers, the last one that of the code.
        activation: name of the activation of all layers but the output.
        norm: ``None``, ``"batch"`` or ``"layer"``, in the encoder.
        contractive: compute the encoder's Jacobian in every training pass; needs layers without norm.

    Shapes:
        ``(n, ...)``, flattened to ``(n, in_features)``, to ``(n, in_features)``.

    Attributes:
        encoder: an :class:`~temperance.nets.mlp.MLP` without output layer.
        decoder: an :class:`~temperance.nets.mlp.MLP`.

    Raises:
        ConfigError: no hidden layer, a width below one, an unknown activation or norm, a norm with ``contractive``.

    Source:
        Vincent et al., *Stacked denoising autoencoders* (2010); Rifai, Vincent, Muller, Glorot and Bengio, *Contractive auto-encoders* (2011).

    Example:
        >>> Autoencoder(6, hidden=(8, 2))(torch.zeros(5, 2, 3)).shape
        torch.Size([5, 6])
    """

    def __init__(
        self, in_features: int, hidden: Sequence[int] = (256,), activation: str = "sigmoid", norm: str | None = None, contractive: bool = False
    ) -> None:
        super().__init__()
        if contractive and norm is not None:
            raise ConfigError(expected("norm", "Autoencoder", "to be None with contractive=True", norm, "The Jacobian is computed layer by layer."))
        self.encoder = MLP(in_features, None, hidden, activation, norm)
        self.decoder = MLP(self.encoder.width, in_features, tuple(hidden)[-2::-1], activation)
        self.contraction = Contraction() if contractive else None

    def forward(self, x: Tensor) -> Tensor:
        if self.contraction is not None and self.training:
            self.contraction(self.jacobian(x))
        return self.decoder(self.encoder(x))

    def jacobian(self, x: Tensor) -> Tensor:
        """The derivative of the code by the inputs, ``(n, code, in_features)``.

        Raises:
            ConfigError: the encoder's layers have a norm or a skip.
        """
        h = x.unsqueeze(1) if x.dim() == 1 else x.flatten(1)
        whole: Tensor | None = None
        for layer in self.encoder.hidden:
            assert isinstance(layer, Dense)
            if layer.norm is not None or layer.skip:
                raise ConfigError("Expected the encoder of Autoencoder to have plain layers, got a norm or a skip. Make it with norm=None.")
            before = layer.linear(h)
            passed: Any = torch.func.vjp(layer.activation.forward, before)  # not a call, which hooks would count as another pass
            h, back = passed
            slope = back(torch.ones_like(before))[0].unsqueeze(-1)
            whole = slope * (layer.linear.weight if whole is None else layer.linear.weight @ whole)
        assert whole is not None
        return whole


def manifold_tangents(autoencoder: Autoencoder, x: Tensor, k: int, block: int = 256) -> Tensor:
    """Directions in which a contractive autoencoder's code still moves: the leading right singular vectors of its Jacobian at each row.

    They span what the encoder takes for the surface on which the rows lie. Given to ``TangentProp`` by way of ``Dataset.tangents`` they make the
    manifold tangent classifier.

    Args:
        autoencoder: a trained one.
        x: rows ``(n, ...)``.
        k: directions a row, at most the width of the code and of a row.
        block: rows at a time.

    Returns:
        ``(n, k, ...)``, of length one, in the shape of the rows.

    Raises:
        ConfigError: k out of range.

    Source:
        Rifai, Dauphin, Vincent, Bengio and Muller, *The manifold tangent classifier* (2011).

    Example:
        >>> from dataclasses import replace
        >>> import temperance as tp
        >>> data = tp.data.as_dataset(torch.randn(40, 5).numpy(), (torch.arange(40) % 2).numpy())
        >>> contract = tp.Cocktail(tp.Denoising(0.1, where=tp.selectors.outputs_of("Contraction", except_output=False)))
        >>> pixels = tp.data.Dataset(data.x, data.x, "regression")
        >>> coder = tp.fit(Autoencoder(5, (8,), contractive=True), contract, pixels, validation=None, epochs=2).model
        >>> along = replace(data, tangents=manifold_tangents(coder, data.x, k=2))
        >>> done = tp.fit(tp.nets.MLP(5, 2, hidden=(8,)), tp.Cocktail(tp.TangentProp(0.1)), along, epochs=2)
        >>> along.tangents.shape
        torch.Size([40, 2, 5])
    """
    most = min(autoencoder.encoder.width, x[0].numel())
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= most:  # pyright: ignore[reportUnnecessaryIsInstance] -- the message for callers without types
        raise ConfigError(expected("k", "manifold_tangents", f"to be a whole number in [1, {most}]", k, "It is at most the width of the code."))
    found: list[Tensor] = []
    with torch.no_grad():
        for rows in x.split(block):
            _, _, right = torch.linalg.svd(autoencoder.jacobian(rows), full_matrices=False)
            found.append(right[:, :k].reshape(len(rows), k, *x.shape[1:]))
    return torch.cat(found)
