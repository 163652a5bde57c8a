"""The parameters of all members of a group as one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor


class FlatParameters:
    """One flat ``(members, parameters)`` tensor, weights first, and named views of it."""

    def __init__(self, flat: Tensor, shapes: Mapping[str, torch.Size]) -> None:
        self.flat, self.shapes = flat, shapes
        self.views = self.views_of(flat)
        self.leaves = {name: view.detach() for name, view in self.views.items()}
        for leaf in self.leaves.values():
            leaf.requires_grad_(leaf.is_floating_point())

    def views_of(self, flat: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        start = 0
        for name, shape in self.shapes.items():
            n = shape.numel()
            out[name] = flat[:, start : start + n].unflatten(1, shape) if shape else flat[:, start]
            start += n
        return out

    def firsts(self, shapes: Mapping[str, torch.Size]) -> dict[int, torch.Size]:
        """The first columns of these parameters, and the shapes that belong to them."""
        ends = accumulate(shape.numel() for shape in self.shapes.values())
        return {end - shape.numel(): shapes[name] for (name, shape), end in zip(self.shapes.items(), ends, strict=True) if name in shapes}
