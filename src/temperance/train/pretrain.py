"""Unsupervised pre-training: the first weights of a dense stack from autoencoders."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.ambient import plainly
from temperance.core.batch import leaves_of, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.errors import ConfigError, expected
from temperance.core.passes import evaluating
from temperance.core.shown import shown
from temperance.data.dataset import Dataset
from temperance.nets.autoencoder import Autoencoder
from temperance.nets.init import build_seeded
from temperance.nets.mlp import MLP, Dense
from temperance.train.fitting import Fit, fit

BLOCK = 1024


@shown
@dataclass(eq=False)
class Pretrained:
    """What :func:`pretrain` returns.

    Attributes:
        model: a copy of the network whose hidden layers hold the encoder's weights; its output layer is as it was.
        fits: the training of each autoencoder.
    """

    model: nn.Module
    fits: list[Fit] = field(repr=False)

    @property
    def state(self) -> dict[str, Tensor]:
        """The network's state, for ``Member(initial=...)``."""
        return {name: t.detach().clone() for name, t in self.model.state_dict().items()}


@plainly
def pretrain(
    model: nn.Module,
    cocktail: Cocktail,
    data: Any,
    *,
    how: str = "layerwise",
    contractive: bool = False,
    epochs: float = 20.0,
    seed: int = 0,
    validation: Any = None,
    **settings: Any,
) -> Pretrained:
    """Train the hidden layers of a network to rebuild their inputs, for a better start with few targets.

    The dense stack is the first ``tp.nets.MLP`` inside the network, which may be the network itself; what comes before it stays. Layer by layer
    every hidden layer becomes the encoder of an autoencoder with a linear decoder, trained on what the layers before it make of the rows; ``"whole"``
    trains one autoencoder whose decoder mirrors the stack. Decoders are thrown away.

    Args:
        model: the network; it is not changed.
        cocktail: of the autoencoders. Noise on the inputs makes them denoising: ``tp.Cocktail(tp.InputNoise(0.3))``, or masking noise,
            ``tp.Cocktail(tp.Dropout(0.0, input_rate=0.25, where=None))``.
        data: a Dataset, or inputs as a tensor or an array; targets are not read, rows without one count too.
        how: ``"layerwise"`` or ``"whole"``.
        contractive: let the autoencoders report the square of the encoder's Jacobian, for a contractive one:
            ``tp.Cocktail(tp.Denoising(0.1, where=tp.selectors.outputs_of("Contraction", except_output=False)))``.
        epochs: passes over the rows, for every autoencoder.
        seed: of decoders, rows and noise.
        validation: as for :func:`fit`, by default none.
        settings: further arguments of :func:`fit`, such as ``optimizer`` and ``batch_size``.

    Returns:
        a :class:`Pretrained`; train its ``model``, or give its ``state`` to a Member.

    Raises:
        ConfigError: a network without hidden layers in an MLP; settings that cannot work.

    Source:
        Bengio, Lamblin, Popovici and Larochelle, *Greedy layer-wise training of deep networks* (2007); Vincent et al., *Stacked denoising autoencoders*
        (2010).

    Example:
        >>> import temperance as tp
        >>> X = torch.randn(64, 5)
        >>> first = pretrain(tp.nets.MLP(5, 2, hidden=(8, 4)), tp.Cocktail(tp.InputNoise(0.3)), X, epochs=2)
        >>> done = tp.fit(first.model, tp.Cocktail(), (X.numpy(), (X[:, 0] > 0).long().numpy()), epochs=2)
        >>> len(first.fits), type(done.model).__name__
        (2, 'MLP')
    """
    if how not in ("layerwise", "whole"):
        raise ConfigError(expected("how", "pretrain", "to be 'layerwise' or 'whole'", how))
    made = copy.deepcopy(model)
    stack = next((m for m in made.modules() if isinstance(m, MLP) and len(m.hidden)), None)
    if stack is None:
        mend = "Build it from tp.nets.MLP, or train an autoencoder of your own and give its weights to Member(initial=...)."
        raise ConfigError(expected("model", "pretrain", "to hold a tp.nets.MLP with a hidden layer", type(model).__name__, mend))
    h = _received(made, stack, data.x if isinstance(data, Dataset) else _as_rows(data))
    layers = [layer for layer in stack.hidden if isinstance(layer, Dense)]
    fits: list[Fit] = []
    for part in [layers] if how == "whole" else [[layer] for layer in layers]:
        coder = _coder(part, seed + len(fits), contractive)
        fits.append(fit(coder, cocktail, Dataset(h, h, "regression"), validation=validation, epochs=epochs, seed=seed + len(fits), **settings))
        trained = fits[-1].model
        assert isinstance(trained, Autoencoder)
        for layer, source in zip(part, trained.encoder.hidden, strict=True):
            layer.load_state_dict(source.state_dict())
        with torch.no_grad():
            h = torch.cat([trained.encoder(rows) for rows in h.split(BLOCK)])
    return Pretrained(made, fits)


def _as_rows(data: Any) -> Tensor:
    if not isinstance(data, (Tensor, np.ndarray)):
        mend = "tp.data.as_dataset(X, y) makes a Dataset."
        raise ConfigError(expected("data", "pretrain", "to be a Dataset, a tensor or an array of inputs", type(data).__name__, mend))
    return torch.as_tensor(data).float()


def _received(model: nn.Module, stack: MLP, x: Any) -> Tensor:
    """What the stack is given when the network sees the rows, flattened."""
    found: list[Tensor] = []

    def note(module: nn.Module, args: Any) -> None:
        found.append(args[0].detach().flatten(1) if args[0].dim() > 1 else args[0].detach().unsqueeze(1))

    handle = stack.register_forward_pre_hook(note)
    try:
        with torch.no_grad(), evaluating(model, True):
            for start in range(0, len(leaves_of(x)[0]), BLOCK):
                model(map_leaves(lambda leaf, a=start: leaf[a : a + BLOCK], x))
    finally:
        handle.remove()
    return torch.cat(found)


def _coder(layers: Sequence[Dense], seed: int, contractive: bool) -> Autoencoder:
    """An autoencoder around copies of these layers, its decoder with fresh weights."""
    widths = [layer.linear.out_features for layer in layers]
    made = build_seeded(lambda: Autoencoder(layers[0].linear.in_features, widths, contractive=contractive), seed)
    made.encoder.hidden = nn.ModuleList(copy.deepcopy(layer) for layer in layers)
    for own, mirrored in zip(made.decoder.hidden, reversed(layers[:-1]), strict=True):
        assert isinstance(own, Dense)
        own.activation = copy.deepcopy(mirrored.activation)
    return made
