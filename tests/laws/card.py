"""A pretended graphics card: tensors that say they are on another device, with the numbers of the processor behind them.

Torch lets Python register a device. Its tensors here wrap tensors of the processor, and every operation passes by a mode that refuses what a real card
would refuse (operands on two devices) and notes what makes a real card wait (values that the host reads, copies from one to the other). So whole
programs run, their numbers can be compared with those of the processor bit for bit, and no card is needed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend  # pyright: ignore[reportPrivateUsage] -- the only way to a device in Python

from temperance.core import random

_setup_privateuseone_for_python_backend("card")
torch.get_device_module("card").get_amp_supported_dtype = lambda: [torch.bfloat16]
CARD = torch.device("card:0")
_aten: Any = torch.ops.aten
READS = {_aten._local_scalar_dense, _aten.equal, _aten.nonzero, _aten.masked_select, _aten.is_nonzero, _aten._unique2, _aten.unique_dim, _aten.bincount}
COPIES = {_aten.copy_, _aten._copy_from}
OWN = {
    "words": random._words,
    "bits": random.bits_of,
    "uniform": random._uniform,
    "normal": random._normal,
    "keep_mask": random._keep_mask,
    "permutation": random._permutation,
    "beta": random._beta,
}


class Far(Tensor):
    """A tensor on the pretended card."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor, requires_grad: bool = False) -> Far:
        given = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype, "layout": inner.layout}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.size(), device=CARD, requires_grad=requires_grad, **given)
        made.inner = inner
        return made

    @classmethod
    def of(cls, value: Any) -> Any:
        return cls(value) if isinstance(value, Tensor) else value

    def tolist(self) -> Any:
        """What torch does for a real card; it refuses tensors of a class of their own."""
        return self.detach().to("cpu").tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert card:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Mixed(AssertionError):
    """Operands on two devices."""


def computed(func: Any, args: Any, kwargs: Mapping[str, Any], notes: Counter[str] | None = None) -> Any:
    """One operation on a real card's terms."""
    tensors = tensors_in([args, kwargs])
    packet, far = func.overloadpacket, [t for t in tensors if isinstance(t, Far)]
    to = kwargs.get("device")
    home = to is not None and torch.device(to).type == "cpu"
    lands = bool(far) and not home if to is None or home else True
    here = {**mapped(kwargs, near), **({} if to is None else {"device": "cpu"})}
    out = func(*mapped(args, near), **here)
    crosses = packet in COPIES and len(far) == 1
    if notes is not None and far and (home or crosses or packet in READS or marks(packet, tensors)):
        notes[f"{packet.__name__} in {place()}"] += 1
    if len(far) < len(tensors) and far and not crosses:
        apart = [t for t in tensors if not isinstance(t, Far) and (t.dim() or torch.Tag.pointwise not in func.tags)]
        if apart:
            raise Mixed(f"{func} of tensors on two devices: {[(str(t.device), tuple(t.shape)) for t in tensors]}")
    if crosses:
        return args[0]
    return return_and_correct_aliasing(func, args, kwargs, mapped(out, Far.of)) if lands else out


def tensors_in(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return [t for part in parts for t in tensors_in(part)]


def mapped(tree: Any, function: Any) -> Any:
    if isinstance(tree, (list, tuple)):
        return type(tree)([mapped(part, function) for part in tree])
    if isinstance(tree, dict):
        return {name: mapped(part, function) for name, part in tree.items()}
    return function(tree)


def near(value: Any) -> Any:
    return value.inner if isinstance(value, Far) else value


def marks(packet: Any, tensors: Sequence[Tensor]) -> bool:
    """Indexing with marks: how many rows follow is known to the card alone."""
    return packet in (_aten.index, _aten.index_put, _aten.index_put_) and any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:])


def place() -> str:
    """The function of the library that the operation belongs to."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if "/src/temperance/" in file and not name.startswith("<"):
            return f"{file.partition('/src/temperance/')[2]}: {name}"
    return "torch"


class Card(TorchDispatchMode):
    """While it is on, there is a pretended card ``card:0``.

    Attributes:
        notes: what the host read and where, with how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes = Counter[str]()

    def __enter__(self) -> Card:
        """Also for ``torch.tensor(..., device=...)``, which otherwise asks a device that is not there for memory."""
        self._before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)
        torch._C._set_only_lift_cpu_tensors(self._before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "temperance" and any(isinstance(t, Far) for t in args):
            with self:
                return OWN[func.overloadpacket.__name__](*args, **kwargs)
        return computed(func, args, kwargs, self.notes)
