"""Whether a compiled step is the plain one but for rounding, where the plain one itself says how far rounding goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

CLOSE = 1e-4  # of the largest entry: what fusing changes in a step that does not enlarge rounding
FEW = 0.02  # share of a tensor's entries that may be further off: Adam's first step makes a whole step of a gradient that rounds to either sign
SMALL = 10  # entries of a tensor of which one may
NUDGES = 4
WIDER = 4.0  # two sums of the same numbers in other orders differ by no more than this, in units of the largest of NUDGES such differences


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any], nudged: Callable[[int], Mapping[str, Any]]) -> list[str]:
    """Names of the trees of tensors that another way of computing a step gives differently, beyond rounding.

    Entries are compared with the largest of their tree: the gradient of a bias before BatchNorm is nothing but rounding. A step may also enlarge
    rounding. VAT looks for its direction by a probe a thousandth long and then moves by a whole radius in that direction; attacks take the sign of a
    gradient; so does Adam's first step. How far a right step may then be off is measured: the plain step is taken again from parameters that are
    moved by the last bit, which draws its rounding anew. A tensor counts as the same if its entries, sorted by how far they are off, are rank by
    rank no further off than after such nudges, up to a factor of :data:`WIDER`, but for a few. One with other random numbers, another strength or a missing
    term is further off than rounding is.

    Args:
        ours: what the step under test gives, trees of tensors by name.
        theirs: what the plain step gives, the same trees.
        nudged: what the plain step gives from nudged parameters, by the number of the nudge; asked only where it is needed.

    Example:
        >>> plain = {"params": {"w": torch.tensor([1.0, 2.0, 3.0])}}
        >>> differing({"params": {"w": torch.tensor([1.0, 2.0, 3.00001])}}, plain, lambda i: plain)
        []
        >>> differing({"params": {"w": torch.tensor([1.1, 2.1, 3.1])}}, plain, lambda i: plain)
        ['params']
    """
    doubtful = {name: _doubtful(ours[name], theirs[name]) for name in theirs}
    if not any(doubtful.values()):
        return []
    again = [nudged(i) for i in range(NUDGES)]
    return [name for name, places in doubtful.items() if not all(_explained(ours, theirs, again, name, place) for place in places)]


def nudge(params: Any, number: int) -> Any:
    """Parameters with every entry moved up, down or not at all by its last bit, in a way that only the number decides.

    Example:
        >>> moved = nudge({"w": torch.ones(100)}, 0)["w"]
        >>> bool((moved != 1).any()), bool(((moved - 1).abs() < 1.3e-7).all())
        (True, True)
    """
    generator = torch.Generator().manual_seed(number)

    def moved(leaf: Tensor) -> Tensor:
        ways = torch.randint(-1, 2, leaf.shape, generator=generator)
        return leaf * (1.0 + torch.finfo(leaf.dtype).eps * ways).to(leaf.dtype) if leaf.is_floating_point() else leaf

    return tree_map(moved, params)


def _doubtful(ours: Any, theirs: Any) -> list[int]:
    """Places of tensors with more than a few entries that are off, or with other whole numbers."""
    mine, plain = tree_flatten(ours)[0], tree_flatten(theirs)[0]
    reach = _reach(plain)
    return [i for i, (a, b) in enumerate(zip(mine, plain, strict=True)) if not _few(a, b, reach)]


def _few(a: Tensor, b: Tensor, reach: float) -> bool:
    return _within(_off(a, b), torch.tensor(reach)) if a.is_floating_point() else torch.equal(a, b)


def _explained(ours: Mapping[str, Any], theirs: Mapping[str, Any], again: list[Mapping[str, Any]], name: str, place: int) -> bool:
    """Whether a tensor is off by no more than rounding makes it."""
    leaves = tree_flatten(theirs[name])[0]
    plain = leaves[place]
    if not plain.is_floating_point():
        return False
    mine = tree_flatten(ours[name])[0][place]
    others = torch.stack([_off(tree_flatten(one[name])[0][place], plain) for one in again]).amax(0)
    return _within(_off(mine, plain), (WIDER * others).clamp_min(_reach(leaves)))


def _off(a: Tensor, b: Tensor) -> Tensor:
    """By how much each entry is off, sorted."""
    off = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs().double())
    return off.nan_to_num(nan=torch.inf).flatten().sort().values


def _within(off: Tensor, most: Tensor) -> bool:
    """Whether all but a few entries are off by so much at most."""
    return int((off > most).sum()) <= max(FEW * off.numel(), int(off.numel() >= SMALL))


def _reach(leaves: list[Tensor]) -> float:
    finite = [b[b.isfinite()] for b in leaves if b.is_floating_point()]
    return CLOSE * max((float(b.abs().max()) for b in finite if b.numel()), default=1.0)
