"""Activation functions by name, each as a module of its own, so that forward hooks can act on hidden units."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from temperance.core.errors import ConfigError, expected

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def activation(name: str) -> nn.Module:
    """A new activation module.

    Args:
        name: a key of ``ACTIVATIONS``.

    Raises:
        ConfigError: no such activation.

    Example:
        >>> activation("relu")
        ReLU()
    """
    if name not in ACTIVATIONS:
        raise ConfigError(expected("activation", "a network", f"in {sorted(ACTIVATIONS)}", name))
    return ACTIVATIONS[name]()
