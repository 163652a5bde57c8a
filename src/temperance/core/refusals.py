"""What a cocktail cannot be attached to, each with the way out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, Opaque
from temperance.core.errors import ConfigError, expected
from temperance.core.network import Network

ADDS_TO_THE_LOSS = {"penalty", "around"}
SPLIT = {
    "FullyShardedDataParallel": "each process holds a part of the parameters",
    "FSDPModule": "each process holds a part of the parameters",
    "DTensor": "each process holds a part of the parameters",
    "DataParallel": "every pass uses copies of the parameters",
}


def refuse_optimizer(optimizer: Any, network: Network, cocktail: Cocktail) -> None:
    """The optimizer must be one, hold parameters of this network that have a shape, and descend.

    Raises:
        ConfigError: it is not so.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        mend = "Where several train the network, attach to one; what the others hold is left to them."
        raise ConfigError(expected("optimizer", "attach", "to be one torch.optim.Optimizer", type(optimizer), mend))
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(
            "LBFGS calls its closure several times per step, and masks must hold within a step. Use SGD, Adam or another optimizer without a closure."
        )
    shapeless = [name for name, p in network.params().items() if is_lazy(p)]
    if shapeless:
        raise ConfigError(f"{shapeless[0]} has no shape yet, so nothing can be said about it. Call the network once on a minibatch, then attach.")
    if not network.groups(optimizer):
        raise ConfigError("The optimizer holds none of the network's parameters. Build it with the parameters of this very network: model.parameters().")
    if any("lr" not in group for group in optimizer.param_groups):
        raise ConfigError("The optimizer's parameter groups have no `lr`, which decay and proximal steps are measured in. Give every group one.")
    adding = [type(r).__name__ for _, r in cocktail.items() if ADDS_TO_THE_LOSS & set(r.sites()) and not r.is_off()]
    if adding and any(group.get("maximize", False) for group in optimizer.param_groups):
        raise ConfigError(
            f"The optimizer maximizes, and {adding[0]} adds to a loss that is to become small. Use maximize=False and a criterion with the other sign."
        )


def refuse_second_decay(optimizer: torch.optim.Optimizer, cocktail: Cocktail) -> None:
    """Either the optimizer decays the weights or the cocktail does.

    Raises:
        ConfigError: both do.
    """
    decays = any(group.get("weight_decay", 0.0) for group in optimizer.param_groups)
    culprits = [type(r).__name__ for _, r in cocktail.items() if r.decays and not r.is_off()]
    if decays and culprits:
        raise ConfigError(f"The optimizer decays the weights as well as {culprits[0]}. Set its weight_decay to 0 or leave {culprits[0]} out.")


def refuse_sharded(model: nn.Module, cocktail: Cocktail) -> None:
    """Parameters must be whole, and where processes share them nobody can call the network with parameters of their own.

    Raises:
        ConfigError: parameters in parts, in the network or within it; or a regularizer that calls the network with its own.
    """
    kinds = {cls.__name__ for part in (*model.modules(), *model.parameters()) for cls in type(part).__mro__}
    split = next((name for name in SPLIT if name in kinds), None)
    if split is not None:
        mend = "Use DistributedDataParallel around the plain network, or train on one process."
        raise ConfigError(
            f"Expected a network whose parameters are whole, got {split}, where {SPLIT[split]}, which penalties and averages cannot follow. {mend}"
        )
    culprits = [type(r).__name__ for _, r in cocktail.items() if set(r.sites()) & {"around", "weights"}]
    if "DistributedDataParallel" in kinds and culprits:
        raise ConfigError(
            f"{', '.join(culprits)} call the network's parameters directly, which DistributedDataParallel does not allow. "
            "Leave them out, or train on one process."
        )


def refuse_unknown_length(total_steps: int | None, cocktail: Cocktail) -> None:
    """What follows the progress of training must know its length.

    Raises:
        ConfigError: it does not.
    """
    timed = [r for _, r in cocktail.items() if r.needs_progress or any(getattr(v, "needs_progress", False) for v in r.values().values())]
    if timed and total_steps is None:
        mend = f"{type(timed[0]).__name__} depends on the progress of training."
        raise ConfigError(expected("total_steps", "attach", "to be the number of optimizer steps planned", None, mend))


def refuse_split(cocktail: Cocktail) -> None:
    """The split form cannot give a regularizer the whole step.

    Raises:
        ConfigError: one needs it.
    """
    culprits = [type(r).__name__ for _, r in cocktail.items() if set(r.sites()) & {"around", "weights"} and not r.is_off()]
    if culprits:
        need, them = ("needs", "it") if len(culprits) == 1 else ("need", "them")
        raise ConfigError(f"{', '.join(culprits)} {need} the whole step, which the split form cannot give. Use reg.loss(x, y), or leave {them} out.")


def refuse_scaled(optimizer: torch.optim.Optimizer) -> None:
    """Gradients must be unscaled before they are changed.

    Raises:
        ConfigError: the optimizer unscales inside its step.
    """
    if getattr(optimizer, "grad_scale", None) is not None:
        raise ConfigError(
            "A fused optimizer under GradScaler unscales inside its step, so gradients cannot be changed before it. "
            "Use fused=False, or call scaler.unscale_(optimizer) first."
        )


def refuse_rows(criterion: Criterion, weight: Any, labeled: Any) -> None:
    """Only a loss that temperance knows can weigh rows or leave them out.

    Raises:
        ConfigError: weights or marks for another one.
    """
    if isinstance(criterion, Opaque) and (weight is not None or labeled is not None):
        name = "weight" if weight is not None else "labeled"
        known = "nn.CrossEntropyLoss(), nn.MSELoss() or tp.losses.SigmoidCrossEntropy()"
        raise ConfigError(f"`{name}` needs a loss that temperance knows, such as {known}; yours gives one number.")
