"""Counter-based random numbers: every value is a pure function of a key, a stream and a position.

A *key* is an int64 tensor: ``()`` for one network, ``(population,)`` outside ``vmap``. A *stream* is a Python integer that names who draws
(regularizer, site, module, call, draw), so adding one regularizer never shifts the numbers of another. The mixing function is a 32-bit
finalizer (three xor-shifts, two multiplications) over a Weyl sequence, with two independent 32-bit words of the hashed key entering at two
points; masks use its two 16-bit halves as separate values, everything else a whole 32-bit value.

Each primitive is one operator with its own ``vmap`` rule, so that under ``torch.vmap`` a population's numbers are filled in one pass and
member i gets exactly the numbers it would get alone. The global generators of torch, NumPy and Python are never read or written.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

_MASK64 = (1 << 64) - 1


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >= 1 << (bits - 1) else value


GOLDEN32, MUL1, MUL2 = _signed(0x9E3779B9, 32), _signed(0x7FEB352D, 32), _signed(0x846CA68B, 32)
_SPLIT1, _SPLIT2, _GOLDEN64 = _signed(0xBF58476D1CE4E5B9, 64), _signed(0x94D049BB133111EB, 64), _signed(0x9E3779B97F4A7C15, 64)


@lru_cache(maxsize=65536)
def stream_of(*path: object) -> int:
    """A 63-bit stream number for a path of names and integers.

    Example:
        >>> stream_of("dropout", "hidden", "1", 0) != stream_of("dropout", "hidden", "1", 1)
        True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def key_of(seed: int, device: torch.device | str | None = None) -> Tensor:
    """The key ``()`` of an integer seed, on torch's default device or a given one.

    Example:
        >>> key_of(0).shape, bool(key_of(0) == key_of(1))
        (torch.Size([]), False)
    """
    z = (seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return torch.tensor(_signed(z ^ (z >> 31), 64), device=device)


def mix64(z: Tensor) -> Tensor:
    """splitmix64's finalizer; int64 ``>>`` is arithmetic, hence the masks."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _SPLIT1
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _SPLIT2
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def fold(key: Tensor, data: Tensor | int) -> Tensor:
    """A new key from a key and an integer (a step, a micro-batch); broadcasts.

    Example:
        >>> key = key_of(3)
        >>> bool(fold(key, 1) == fold(key, 1)), bool(fold(key, 1) == fold(key, 2))
        (True, False)
    """
    offset = _signed((data + 1) * _GOLDEN64, 64) if isinstance(data, int) else (data + 1) * _GOLDEN64
    return mix64(key + offset)


@lru_cache(maxsize=64)
def _weyl(n: int, device: torch.device) -> Tensor:
    return torch.arange(n, dtype=torch.int32, device=device).mul_(GOLDEN32)


def _words(key: Tensor, stream: int) -> Tensor:
    """The two int32 words ``key.shape + (2,)`` of a key and a stream that start every sequence."""
    word = mix64(key ^ stream)
    return torch.stack([word.to(torch.int32), (word >> 32).to(torch.int32)], -1)


def bits_of(key: Tensor, stream: int, n: int) -> Tensor:
    """Int32 values ``key.shape + (n,)``, all 32 bits random."""
    low, high = _words(key, stream).unbind(-1)
    x = _weyl(n, key.device) + low.unsqueeze(-1)
    t = torch.empty_like(x)
    for shift, keep, step in ((16, 0xFFFF, MUL1), (15, 0x1FFFF, MUL2), (16, 0xFFFF, None)):
        torch.bitwise_right_shift(x, shift, out=t)
        x.bitwise_xor_(t.bitwise_and_(keep))
        if step == MUL2:
            x.bitwise_xor_(high.unsqueeze(-1))
        if step is not None:
            x.mul_(step)
    return x


def _unit(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform values in the open interval (0, 1): 23 bits plus half a step, which float32 holds exactly (with 24 the largest would round to 1)."""
    return (((bits >> 9) & 0x7FFFFF).to(torch.float64 if dtype == torch.float64 else torch.float32).add_(0.5)).mul_(2.0**-23).to(dtype)


def _uniform(key: Tensor, stream: int, n: int, dtype: torch.dtype) -> Tensor:
    return _unit(bits_of(key, stream, n), dtype)


def _normal(key: Tensor, stream: int, n: int, dtype: torch.dtype) -> Tensor:
    """Box-Muller on two 23-bit uniforms a pair."""
    half = (n + 1) // 2
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    u = _unit(bits_of(key, stream, 2 * half), wide)
    radius = u[..., :half].log().mul_(-2.0).sqrt_()
    angle = u[..., half:].mul(2.0 * math.pi)
    return torch.cat([radius * angle.cos(), radius.mul_(angle.sin())], -1)[..., :n].to(dtype)


def _keep_mask(key: Tensor, rate: Tensor, stream: int, n: int, dtype: torch.dtype) -> Tensor:
    """Inverted-dropout mask: 0 with probability ``rate``, else 1 / (1 - rate), with the rate rounded to 1/65536 so that the mean is exact."""
    count = ((1.0 - rate.double()) * 65536.0).round_().clamp_(1.0, 65536.0)
    count = count.expand(key.shape)
    lanes = bits_of(key, stream, (n + 1) // 2).view(torch.int16)
    kept = lanes <= (count - 32769.0).to(torch.int16).unsqueeze(-1)
    mask = kept.to(dtype).mul_((65536.0 / count).to(dtype).unsqueeze(-1))
    return mask[..., :n] if n % 2 else mask


def _permutation(key: Tensor, stream: int, n: int) -> Tensor:
    return torch.argsort(bits_of(key, stream, n), dim=-1, stable=True)


_ROUNDS = 12  # a Marsaglia-Tsang round accepts with probability >= 0.95: all twelve fail once in 4e15 draws


def _log_gamma_draw(key: Tensor, shape: Tensor, stream: int) -> Tensor:
    """Logarithm of one Gamma(shape) draw (Marsaglia & Tsang, 2000, with the boost for shapes below one), float64."""
    shape = shape.double().expand(key.shape).unsqueeze(-1)
    d = shape + 1.0 - 1.0 / 3.0
    c = (9.0 * d).rsqrt()
    z = _normal(key, stream, _ROUNDS, torch.float64)
    u = _uniform(key, stream ^ 1, _ROUNDS + 1, torch.float64)
    v = (1.0 + c * z) ** 3
    safe = v.clamp_min(1e-300)
    accept = (v > 0) & (u[..., :_ROUNDS].log() < 0.5 * z * z + d - d * v + d * safe.log())
    first = accept.to(torch.int8).argmax(-1, keepdim=True)
    log_g = (d * safe).log().gather(-1, first)
    return (log_g + u[..., _ROUNDS:].log() / shape).squeeze(-1)


def _beta(key: Tensor, a: Tensor, b: Tensor, stream: int, dtype: torch.dtype) -> Tensor:
    """One Beta(a, b) draw a key, as a ratio of Gammas in log space, so that shapes near zero do not underflow."""
    shapes = torch.stack([a.expand(key.shape), b.expand(key.shape)], -1).clamp_min(1e-8)
    logs = _log_gamma_draw(torch.stack([key, ~key], -1), shapes, stream)
    gap = logs[..., 1] - logs[..., 0]
    return (1.0 / (1.0 + gap.exp())).to(dtype)  # not torch.sigmoid, whose last bit depends on the place in the vector


def _primitive(
    name: str, implementation: Callable[..., Tensor], schema: str, n_tensors: int, out: Callable[..., tuple[Any, torch.dtype]]
) -> Callable[..., Tensor]:
    """Register one operator, with the rule that a batched key fills the whole population in one call."""
    op: Any = torch.library.custom_op(f"temperance::{name}", implementation, mutates_args=(), schema=schema)

    def fake(*args: Any) -> Tensor:
        tail, dtype = out(*args)
        return args[0].new_empty((*args[0].shape, *tail), dtype=dtype)

    def rule(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
        front: list[Any] = []
        for arg, dim in zip(args, in_dims, strict=True):
            front.append(arg if dim is None or not isinstance(arg, Tensor) else arg.movedim(dim, 0))
        if in_dims[0] is None:
            front[0] = front[0].unsqueeze(0).expand(info.batch_size, *front[0].shape)
        for i in range(1, n_tensors):
            if in_dims[i] is None and front[0].dim() > 1:
                front[i] = front[i].expand(front[0].shape[1:])
            while front[i].dim() < front[0].dim() and in_dims[i] is not None:
                front[i] = front[i].unsqueeze(-1)
        return op(*front), 0

    op.register_fake(fake)
    op.register_vmap(rule)
    return cast(Callable[..., Tensor], op)


_op_words = _primitive("words", _words, "(Tensor key, int stream) -> Tensor", 1, lambda k, s: ((2,), torch.int32))
_op_bits = _primitive("bits", bits_of, "(Tensor key, int stream, int n) -> Tensor", 1, lambda k, s, n: ((n,), torch.int32))
_op_uniform = _primitive("uniform", _uniform, "(Tensor key, int stream, int n, ScalarType dtype) -> Tensor", 1, lambda k, s, n, t: ((n,), t))
_op_normal = _primitive("normal", _normal, "(Tensor key, int stream, int n, ScalarType dtype) -> Tensor", 1, lambda k, s, n, t: ((n,), t))
_op_keep = _primitive("keep_mask", _keep_mask, "(Tensor key, Tensor rate, int stream, int n, ScalarType dtype) -> Tensor", 2, lambda k, r, s, n, t: ((n,), t))
_op_perm = _primitive("permutation", _permutation, "(Tensor key, int stream, int n) -> Tensor", 1, lambda k, s, n: ((n,), torch.int64))
_op_beta = _primitive("beta", _beta, "(Tensor key, Tensor a, Tensor b, int stream, ScalarType dtype) -> Tensor", 3, lambda k, a, b, s, t: ((), t))


class Rng:
    """Random numbers for one site call: a key, the stream of the caller, and a count of the draws so far.

    Two ``Rng`` made alike give the same numbers in the same order: that is how every pass of one step sees the same masks.

    Example:
        >>> rng = Rng(key_of(0), stream_of("noise", "batch"))
        >>> rng.normal((2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(self, key: Tensor, stream: int) -> None:
        self.key, self._stream, self._draws = key, stream, 0

    def _next(self) -> int:
        self._draws += 1
        return stream_of(self._stream, self._draws)

    def bits(self, shape: tuple[int, ...]) -> Tensor:
        """Int32 values with all 32 bits random."""
        return _op_bits(self.key, self._next(), math.prod(shape)).reshape((*self.key.shape, *shape))

    def uniform(self, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform on the open interval (0, 1)."""
        return _op_uniform(self.key, self._next(), math.prod(shape), dtype).reshape((*self.key.shape, *shape))

    def integers(self, high: int | Tensor, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform on 0, 1, ..., high - 1, int64, for ``high`` up to 2^31 (a number or a tensor that broadcasts): all 64 bits of two draws count.

        Within one draw of 32-bit values none occurs twice; of the exclusive or of two, any may.
        """
        first, second = (self.bits(shape).long() & 0xFFFFFFFF for _ in range(2))
        return ((first ^ second) * high + ((first * high) >> 32)) >> 32

    def normal(self, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard Gaussian."""
        return _op_normal(self.key, self._next(), math.prod(shape), dtype).reshape((*self.key.shape, *shape))

    def laplace(self, shape: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
        """Laplace of scale one (variance two)."""
        u = self.uniform(shape, torch.float64 if dtype == torch.float64 else torch.float32) - 0.5
        return (-torch.sign(u) * torch.log1p(-2.0 * u.abs())).to(dtype)

    def keep_mask(self, rate: Tensor | float, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """0 with probability ``rate``, else 1 / (1 - rate): multiply by it for inverted dropout. At rate 0 it is exactly one."""
        rate = rate if isinstance(rate, Tensor) else torch.tensor(float(rate), device=self.key.device)
        return _op_keep(self.key, rate, self._next(), math.prod(shape), dtype).reshape((*self.key.shape, *shape))

    def permutation(self, n: int) -> Tensor:
        """A uniformly random order of ``n`` rows, int64."""
        return _op_perm(self.key, self._next(), n)

    def beta(self, a: Tensor | float, b: Tensor | float, dtype: torch.dtype = torch.float32) -> Tensor:
        """One Beta(a, b) draw; a and b below 1e-8 are taken as 1e-8."""
        a = a if isinstance(a, Tensor) else torch.tensor(float(a), device=self.key.device)
        b = b if isinstance(b, Tensor) else torch.tensor(float(b), device=self.key.device)
        return _op_beta(self.key, a, b, self._next(), dtype)
