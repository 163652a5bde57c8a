"""The random primitives spelled out in plain operations: what a compiler fuses into the arithmetic that uses them.

Each gives the values of its primitive in :mod:`temperance.core.random`, entry by entry: a mask is then computed where it is multiplied, and never
stored. Without a compiler the primitives are faster, because they fill their memory in place. What is one number or one short row per member (the
words of a key, a permutation, a Beta draw) stays a primitive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from temperance.core import random

_LANES = 1 << 16
_OPS: Any = torch.ops.temperance


def _words(key: Tensor, stream: int) -> tuple[Tensor, Tensor]:
    words = _OPS.words(key, stream)
    return words[..., 0:1], words[..., 1:2]


def _hash(x: Tensor, high: Tensor) -> Tensor:
    x = (x ^ ((x >> 16) & 0xFFFF)) * random.MUL1
    x = ((x ^ ((x >> 15) & 0x1FFFF)) ^ high) * random.MUL2
    return x ^ ((x >> 16) & 0xFFFF)


def _counter(n: int, device: torch.device) -> Tensor:
    return torch.arange(n, dtype=torch.int32, device=device)


def _bits(key: Tensor, stream: int, n: int) -> Tensor:
    low, high = _words(key, stream)
    return _hash(_counter(n, key.device) * random.GOLDEN32 + low, high)


def _unit(values: Tensor, dtype: torch.dtype) -> Tensor:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    return ((((values >> 9) & 0x7FFFFF).to(wide) + 0.5) * 2.0**-23).to(dtype)


def _uniform(key: Tensor, stream: int, n: int, dtype: torch.dtype) -> Tensor:
    return _unit(_bits(key, stream, n), dtype)


def _normal(key: Tensor, stream: int, n: int, dtype: torch.dtype) -> Tensor:
    half = (n + 1) // 2
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    low, high = _words(key, stream)
    i = _counter(half, key.device)
    first, second = (_unit(_hash((i + start) * random.GOLDEN32 + low, high), wide) for start in (0, half))
    radius, angle = (first.log() * -2.0).sqrt(), second * (2.0 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], -1)[..., :n].to(dtype)


def _keep_mask(key: Tensor, rate: Tensor, stream: int, n: int, dtype: torch.dtype) -> Tensor:
    low, high = _words(key, stream)
    count = ((1.0 - rate.double()) * float(_LANES)).round().clamp(1.0, float(_LANES)).expand(key.shape)
    scale, limit = (float(_LANES) / count).to(dtype).unsqueeze(-1), (count - 32769.0).to(torch.int32).unsqueeze(-1)
    i = _counter(n, key.device)
    word = _hash((i >> 1) * random.GOLDEN32 + low, high)
    lane = (word << ((1 - (i & 1)) * 16)) >> 16  # the low half of a word, then its high half, as signed 16-bit values
    return torch.where(lane <= limit, scale, torch.zeros_like(scale))


INLINE: dict[Any, Callable[..., Tensor]] = {
    _OPS.bits.default: _bits,
    _OPS.uniform.default: _uniform,
    _OPS.normal.default: _normal,
    _OPS.keep_mask.default: _keep_mask,
}
