"""Several tasks on shared lower layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.mlp import MLP


class MultiHead(nn.Module):
    r"""Shared lower layers and a head for each task: :math:`y_t = g_t(f(x))`.

    Args:
        trunk: the shared network :math:`f`, with an output ``(n, features)``.
        features: width of that output.
        heads: number of outputs of each head :math:`g_t` by name.
        private: widths of the hidden layers that each head has for itself.
        activation: name of the activation of these.

    Shapes:
        whatever ``trunk`` takes, to ``{name: (n, heads[name])}``.

    Source:
        Caruana, *Multitask learning* (1997).

    Example:
        >>> import torch
        >>> net = MultiHead(MLP(4, None, hidden=(8,)), 8, {"kind": 3, "age": 1})
        >>> {name: tuple(y.shape) for name, y in net(torch.zeros(5, 4)).items()}
        {'kind': (5, 3), 'age': (5, 1)}
    """

    def __init__(self, trunk: nn.Module, features: int, heads: Mapping[str, int], private: Sequence[int] = (), activation: str = "relu") -> None:
        super().__init__()
        if not heads:
            raise ConfigError(expected("heads", "MultiHead", "with at least one head", dict(heads)))
        self.trunk = trunk
        self.names = tuple(heads)
        self.heads = nn.ModuleList(MLP(features, outputs, private, activation) for outputs in heads.values())

    def forward(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        shared = self.trunk(x)
        return {name: head(shared) for name, head in zip(self.names, self.heads, strict=True)}


class TwoHeads(MultiHead):
    """Two tasks on the hidden layers of one MLP.

    Args:
        in_features: number of inputs of a row after flattening.
        heads: number of outputs of the two heads by name.
        hidden: widths of the shared hidden layers.
        private: widths of the hidden layers that each head has for itself.
        activation: name of the activation.
        norm: ``None``, ``"batch"`` or ``"layer"``, in the shared layers.

    Shapes:
        ``(n, ...)``, flattened to ``(n, in_features)``, to ``{name: (n, heads[name])}``.

    Example:
        >>> import torch
        >>> sorted(TwoHeads(4, {"kind": 3, "age": 1}, hidden=(8,))(torch.zeros(5, 4)))
        ['age', 'kind']
    """

    def __init__(
        self,
        in_features: int,
        heads: Mapping[str, int],
        hidden: Sequence[int] = (128, 128),
        private: Sequence[int] = (),
        activation: str = "relu",
        norm: str | None = None,
    ) -> None:
        if len(heads) != 2:
            raise ConfigError(expected("heads", "TwoHeads", "with two heads", dict(heads), "Use MultiHead for another number."))
        trunk = MLP(in_features, None, hidden, activation, norm)
        super().__init__(trunk, trunk.width, heads, private, activation)
