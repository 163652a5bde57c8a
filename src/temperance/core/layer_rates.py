"""Learning rates that fall from the last layer of a network to the first, for fine-tuning in your own loop."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from temperance.core.errors import ConfigError, expected


def layer_decay(model: nn.Module, lr: float, decay: float = 0.75) -> list[dict[str, Any]]:
    r"""Groups of parameters for an optimizer of ``torch.optim``: the layer l of L learns at :math:`lr \cdot decay^{L - l}`.

    A layer begins with a module that has a weight of two or more dimensions, in the order in which modules are defined; norms, biases and other vectors
    belong to the layer before them, those before the first to the first. The last layer, a new head, has the full rate, and the early ones of a
    pretrained network hardly move. Frozen parameters are left out; one that several modules share belongs to the first of them.

    Args:
        model: the network.
        lr: of the last layer.
        decay: the factor from a layer to the one before it, in (0, 1]; 1 gives all the same rate.

    Raises:
        ConfigError: a rate or a factor out of range, nothing to train, or a parameter that has no shape yet.

    Source:
        Howard and Ruder, *Universal language model fine-tuning* (2018); Clark et al., *ELECTRA* (2020); Bao et al., *BEiT* (2022).

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> optimizer = torch.optim.AdamW(tp.optim.layer_decay(net, lr=0.1, decay=0.5))
        >>> [group["lr"] for group in optimizer.param_groups], len(optimizer.param_groups[0]["params"])
        ([0.025, 0.05, 0.1], 4)
    """
    _number("lr", lr, "in (0, inf)", 0.0 < _or_nan(lr) < float("inf"))
    _number("decay", decay, "in (0, 1]", 0.0 < _or_nan(decay) <= 1.0)
    shapeless = [name for name, p in model.named_parameters() if is_lazy(p)]
    if shapeless:
        raise ConfigError(f"{shapeless[0]} has no shape yet, so its layer is not known. Call the network once on a minibatch, then group its parameters.")
    layers: list[list[nn.Parameter]] = []
    seen, begun = set[int](), False
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        wide = any(p.dim() > 1 for p in own)
        if own and (not layers or (wide and begun)):
            layers.append([])
        begun = begun or wide
        if own:
            layers[-1] += [p for p in own if p.requires_grad]
    top = len(layers) - 1
    groups = [{"params": params, "lr": lr * decay ** (top - at)} for at, params in enumerate(layers) if params]
    if not groups:
        raise ConfigError(expected("model", "layer_decay", "with parameters that train", type(model).__name__, "Unfreeze some: requires_grad_(True)."))
    return groups


def _or_nan(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


def _number(name: str, value: Any, allowed: str, legal: bool) -> None:
    if not legal:
        raise ConfigError(expected(name, "layer_decay", allowed, value, "For example layer_decay(model, lr=1e-3, decay=0.75)."))
