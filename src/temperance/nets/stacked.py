"""Networks of one structure as one batched program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def alike(networks: Sequence[nn.Module]) -> bool:
    """Whether networks differ in nothing but their numbers, and run well as one batched program.

    Their modules, the shapes of their parameters and buffers and the plain settings of every module must be the same. Networks with hooks, parametrizations or
    torch's recurrent layers run one by one, and on a CPU so do those with convolutions.

    Example:
        >>> alike([nn.Linear(2, 3), nn.Linear(2, 3)]), alike([nn.Linear(2, 3), nn.Linear(2, 1)])
        (True, False)
    """
    first, *others = networks
    return bool(others) and all(batches(network) for network in networks) and all(_same(first, n) for n in others)


def batches(network: nn.Module) -> bool:
    """Whether copies of a network run well as one batched program, as far as its modules tell."""
    return all(_batches(m) for m in network.modules())


def _batches(module: nn.Module) -> bool:
    if isinstance(module, nn.RNNBase) or torch.nn.utils.parametrize.is_parametrized(module):
        return False
    if isinstance(module, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage] -- no public base
        return module.weight.device.type != "cpu"
    return not module._forward_hooks and not module._forward_pre_hooks  # pyright: ignore[reportPrivateUsage] -- no public question


_OWN = set(vars(nn.Module()))


def _same(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = dict(a.named_modules()), dict(b.named_modules())
    if list(ours) != list(theirs) or any(type(m) is not type(theirs[name]) for name, m in ours.items()):
        return False
    for kind in (nn.Module.named_parameters, nn.Module.named_buffers):
        if [(name, t.shape, t.dtype, t.device) for name, t in kind(a)] != [(name, t.shape, t.dtype, t.device) for name, t in kind(b)]:
            return False
    return all(_same_setting(value, vars(theirs[name]).get(key)) for name, m in ours.items() for key, value in vars(m).items() if key not in _OWN)


def _same_setting(a: Any, b: Any) -> bool:
    """Whether two settings of a module are equal; where equality may not say it all, only the very same object is."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (tuple, list)) and type(a) is type(b):
        return len(a) == len(b) and all(_same_setting(v, w) for v, w in zip(a, b, strict=True))
    return a is b or (isinstance(a, (bool, int, float, str)) and type(a) is type(b) and a == b)


def run_stacked(network: nn.Module, states: Sequence[Mapping[str, Tensor]], x: Any) -> Any:
    """The outputs of one network with several states, in one batched program.

    Args:
        network: in evaluation mode.
        states: parameters and buffers by name.
        x: what the network takes.

    Returns:
        ``(states, n, outputs)``, differentiable with respect to the states; of a network with several heads a dict of these.

    Raises:
        RuntimeError: the network does something that torch.vmap cannot.

    Example:
        >>> networks = [nn.Linear(2, 3) for _ in range(4)]
        >>> run_stacked(networks[0], [state_of(n) for n in networks], torch.zeros(5, 2)).shape
        torch.Size([4, 5, 3])
    """
    stacked, shared = dict[str, Tensor](), dict[str, Tensor]()
    buffers = {name for name, _ in network.named_buffers()}
    for name in states[0]:
        each = [state[name] for state in states]
        if name in buffers and all(torch.equal(each[0], b) for b in each[1:]):  # such as the edges of bins: what only depends on them is computed once
            shared[name] = each[0]
        else:
            stacked[name] = torch.stack(each)

    def one(own: Any) -> Tensor:
        return functional_call(network, {**own, **shared}, (x,))

    return torch.vmap(one)(stacked)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, tied ones once."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def stacked_outputs(each: Sequence[Any]) -> Any:
    """Outputs of several networks as one, ``(networks, n, outputs)``; of networks with several heads a dict of these."""
    if isinstance(each[0], dict):
        return {name: torch.stack([out[name] for out in each]) for name in each[0]}
    return torch.stack(list(each))


def outputs_of(network: nn.Module, states: Sequence[Mapping[str, Tensor]], x: Any) -> Any:
    """The outputs ``(states, n, outputs)`` of one network with several states: batched where torch.vmap can run it, else one by one."""
    if len(states) > 1 and batches(network):
        try:
            return run_stacked(network, states, x)
        except RuntimeError:  # what torch.vmap cannot do, the loop takes over
            pass
    return stacked_outputs([functional_call(network, dict(state), (x,)) for state in states])
