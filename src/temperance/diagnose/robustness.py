"""What is left of a network's score when its inputs move a little: attacks of growing size, and signs that they cannot be believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from temperance.core.ambient import plainly, trainable
from temperance.core.batch import leaves_of, map_leaves
from temperance.core.criterion import criterion_for
from temperance.core.draws import Draws
from temperance.core.errors import ConfigError, DataError, expected
from temperance.core.inputs import scale_of
from temperance.core.passes import evaluating
from temperance.core.shown import shown
from temperance.data import Dataset, as_dataset
from temperance.diagnose.attacks import NOISE, Classes, Harm, Labels, Room, Score, Values, wilson
from temperance.regularizers._inputs import Bounds, checked_bounds

ATTACKS = ("fgsm", "pgd", "margin")
NORMS = ("linf", "l2")
SIZES: Mapping[tuple[str, bool], tuple[float, ...]] = {
    ("linf", False): (0.05, 0.1, 0.2, 0.5),
    ("l2", False): (0.1, 0.25, 0.5, 1.0),
    ("linf", True): (0.01, 0.03, 0.1, 0.3),
    ("l2", True): (0.25, 0.5, 1.0, 2.0),
}
"""Sizes by the norm and by whether bounds are given; those are for bounds one apart."""
SUSPECT = 0.05


@shown
@dataclass(frozen=True)
class Robustness:
    """What :func:`robustness` returns; every sequence of scores is in the order of ``eps``.

    Attributes:
        metric: ``"accuracy"`` or ``"rmse"``.
        n: rows.
        norm: ``"linf"`` or ``"l2"``.
        unit: what eps counts in: ``"sd"``, standard deviations of each input, or ``"raw"``.
        eps: how far the rows were moved, ascending.
        clean: the score on the rows as they are.
        attacks: the scores under each attack by name.
        noise: under random noise of the same size, the worst of ten draws for each row.
        worst: for each row the worst of all that was tried, with smaller steps too.
        warnings: signs that the attacks are too weak to be believed.
        steps: gradient steps of an attack.
        restarts: starts of an attack.
        seed: of the random starts and the noise.
    """

    metric: str
    n: int
    norm: str
    unit: str
    eps: tuple[float, ...]
    clean: Score
    attacks: Mapping[str, tuple[Score, ...]]
    noise: tuple[Score, ...]
    worst: tuple[Score, ...]
    warnings: tuple[str, ...] = ()
    steps: int = 20
    restarts: int = 1
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

        def listed(scores: Sequence[Score]) -> list[dict[str, float | None]]:
            return [score.to_dict() for score in scores]

        plain = {key: getattr(self, key) for key in ("metric", "n", "norm", "unit", "steps", "restarts", "seed")}
        curves = {"attacks": {name: listed(scores) for name, scores in self.attacks.items()}, "noise": listed(self.noise), "worst": listed(self.worst)}
        return {**plain, "eps": list(self.eps), "clean": self.clean.to_dict(), **curves, "warnings": list(self.warnings)}


@plainly
def robustness(
    model: nn.Module,
    data: Dataset | tuple[Any, Any],
    *,
    eps: float | Sequence[float] | None = None,
    norm: str = "linf",
    bounds: Any = None,
    steps: int = 20,
    restarts: int = 1,
    attacks: Sequence[str] = ATTACKS,
    scale: Any = None,
    y_scale: float = 1.0,
    seed: int = 0,
    batch_size: int = 512,
) -> Robustness:
    r"""Attack a network with small changes of its inputs, and score what it still gets right.

    What: for each row the attacks look within ‖(x' - x) / s‖ <= eps for a row that the network gets wrong (for values: that it misses by most).
    ``fgsm`` takes one step along the gradient of the loss. ``pgd`` takes many and is put back after each. ``margin`` is PGD on the margin
    max_{j≠y} z_j - z_y of the outputs themselves, whose slope does not vanish where the network is sure of itself, as that of a saturated softmax
    does; for values it pushes the output up, then down. A row counts as right where it is right as it stands and at every point that the
    attack visited. ``worst`` takes for each row everything that was tried, smaller eps included: an upper bound of the accuracy that an
    adversary leaves, and no proof that nothing worse exists.

    Attacks may fail because the gradients are bad and not because the network is robust (gradient masking). Signs of it are told in ``warnings``:
    one step does better than many, more room does worse than less, random noise does better than the gradient, or the gradient is zero.

    The network runs in evaluation mode with detached parameters and copied buffers; modes, buffers, gradients and the global random generators
    stay as they are. What is random is keyed by the seed and the position of the row, so that it does not depend on ``batch_size``.

    Cost: one forward and backward pass a step, restart, attack and eps, for the rows that are still right; ``margin`` of values twice that.

    Args:
        model: returns scores (logits) ``(rows, classes)``, one logit for two classes, or values.
        data: rows with their targets, such as a :class:`temperance.data.Dataset`; or a pair (x, y), y whole numbers for classes, else values.
        eps: how far a row may move, one or several; some by default (:data:`SIZES`).
        norm: ``"linf"``, each number by at most eps, or ``"l2"``, the row by a Euclidean length of at most eps over all of its numbers.
        bounds: None, or the lowest and highest legal input, such as (0, 1): moved rows stay within, and eps is in raw units.
        steps: gradient steps; 100 for a number to be published.
        restarts: the first one starts at the row, further ones at random points around it.
        attacks: which of ``fgsm``, ``pgd``, ``margin``.
        scale: the unit s of eps, in the structure of x: a number per column, or one for each entry (zero: does not move). By default the
            standard deviation over these rows, or one where ``bounds`` are given. Codes of categories never move.
        y_scale: what one unit of the values is, for the error.
        seed: of random starts and noise.
        batch_size: rows at once, which bounds the memory.

    Raises:
        ConfigError: a setting that cannot be, or a network whose output is not one tensor ``(rows, outputs)``.
        DataError: rows without a target, or without a number that could move.

    Reference: Goodfellow et al. (2015); Madry et al. (2018); Carlini & Wagner (2017) for the margin; Athalye et al. (2018) for the signs.

    Example:
        >>> net = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(net.weight)
        >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 1])
        >>> found = robustness(net, (x, y), eps=[0.4, 0.6], scale=1.0)
        >>> found.clean.value, [score.value for score in found.worst]
        (1.0, [1.0, 0.5])
    """
    _check(norm, steps, restarts, attacks, y_scale, batch_size, seed)
    limits = checked_bounds(bounds, "robustness")
    sizes = _sizes(eps, norm, limits)
    with _traceless(model, seed) as net:
        rows, net = _rows(data, net)
        if rows.task == "regression":
            harm: Harm = Values(y_scale)
        else:
            harm = Classes() if rows.task == "classification" else Labels()
        unit = _unit(rows.x, scale, limits)
        room = Room(net, harm, criterion_for(str(rows.task)), norm, limits, steps, restarts, seed)
        found = room.measure(rows, unit, sizes, tuple(attacks), batch_size)
    clean = found.pop("")
    curves = {name: tuple(harm.score(h) for h in each) for name, each in found.items()}
    everything = np.maximum.accumulate(np.max([*found.values()], axis=0), axis=0)
    return Robustness(
        harm.metric,
        len(rows),
        norm,
        "sd" if limits is None else "raw",
        sizes,
        harm.score(clean[0]),
        {name: curve for name, curve in curves.items() if name != NOISE},
        curves[NOISE],
        tuple(harm.score(h) for h in everything),
        tuple(_signs(found, sizes, harm, room.flat)),
        steps,
        restarts,
        seed,
    )


# Signs that the attacks are too weak


def _more(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether ``a`` did more harm than ``b`` to the same rows, by more than two standard errors."""
    with np.errstate(invalid="ignore"):
        difference = a - b
    return bool(difference.sum() > 2.0 * math.sqrt(float(np.square(difference).sum())))


def _signs(found: Mapping[str, np.ndarray], sizes: Sequence[float], harm: Harm, flat: Sequence[int]) -> list[str]:
    out: list[str] = []
    told = "error" if harm.metric == "rmse" else "accuracy"

    def say(text: str, first: str, other: str, k: int, j: int) -> None:
        a, b = harm.score(found[first][k]).value, harm.score(found[other][j]).value
        out.append(f"{text}: {told} {a:.3g} against {b:.3g}")

    many = [name for name in ("pgd", "margin") if name in found]
    for k, size in enumerate(sizes):
        if "fgsm" in found and "pgd" in found and _more(found["fgsm"][k], found["pgd"][k]):
            say(f"at eps {size:g} the one step of FGSM does more harm than the many of PGD", "fgsm", "pgd", k, k)
        strongest = np.max([found[name][k] for name in many or ["fgsm"] if name in found], axis=0)
        if _more(found[NOISE][k], strongest):
            a, b = harm.score(found[NOISE][k]).value, harm.score(strongest).value
            out.append(f"at eps {size:g} random noise does more harm than the attacks: {told} {a:.3g} against {b:.3g}")
    for name in many:
        for k in range(1, len(sizes)):
            if _more(found[name][k - 1], found[name][k]):
                shown = {"pgd": "PGD", "margin": "the margin attack"}[name]
                say(f"{shown} does more harm at eps {sizes[k - 1]:g} than at {sizes[k]:g}", name, name, k - 1, k)
    if flat[1] and flat[0] > SUSPECT * flat[1]:
        out.append(f"the gradient of the loss is zero for {flat[0] / flat[1]:.0%} of the attacked rows, so FGSM and PGD cannot move them")
    if out:
        out.append("these are signs of masked gradients: the network may be less robust than the numbers say; try more steps and restarts")
    return out


# What is given


@contextmanager
def _traceless(model: nn.Module, seed: int) -> Generator[Callable[[Any], Tensor]]:
    """The network as a function of its inputs, in evaluation mode; layers that draw in it draw from a generator of their own."""
    model = trainable(model)
    params = {name: p.detach() for name, p in model.named_parameters()}
    state = {**params, **{name: b.detach().clone() for name, b in model.named_buffers()}}
    like = next((t for t in state.values() if t.is_floating_point()), torch.zeros(()))

    def net(x: Any) -> Tensor:
        x = map_leaves(lambda leaf: (leaf.to(like.device, like.dtype) if leaf.is_floating_point() else leaf.to(like.device)).clone(), x)
        out = functional_call(model, state, (x,))
        if not isinstance(out, Tensor) or out.dim() not in (1, 2):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ConfigError(expected("model", "robustness", "to return one tensor (rows, outputs)", got, "Wrap it in a module that picks one output."))
        return out.unsqueeze(1) if out.dim() == 1 else out

    refused = like.device.type == "cuda" and any(isinstance(module, nn.RNNBase) for module in model.modules())  # by cuDNN: gradients in evaluation mode
    plain = torch.backends.cudnn.flags(enabled=False) if refused else nullcontext()
    with evaluating(model, True), Draws(seed), plain:
        yield net


def _rows(data: Any, net: Callable[[Any], Tensor]) -> tuple[Dataset, Callable[[Any], Tensor]]:
    """The rows with a known target on the network's device, and the network with a score for each class."""
    if isinstance(data, (tuple, list)) and len(data) == 2:
        data = _paired(data[0], data[1], net)
    if not isinstance(data, Dataset):
        raise ConfigError(expected("data", "robustness", "to be a Dataset or a pair (x, y)", type(data).__name__))
    if isinstance(data.task, dict) or not isinstance(data.y, Tensor):
        raise ConfigError(expected("data", "robustness", "with one target", sorted(data.task), "Attack one head at a time: wrap the network."))
    if isinstance(data.labeled, Tensor):
        data = data.take(torch.nonzero(data.labeled).squeeze(1))
    if not len(data):
        raise DataError("Expected rows with a target, got none. Without the right answer nothing can be scored.")
    if not any(leaf.is_floating_point() and leaf[0].numel() for leaf in leaves_of(data.x)):
        raise DataError("Expected inputs with numbers, got categories only. A category cannot move a little, so there is nothing to attack.")
    with torch.no_grad():
        out = net(map_leaves(lambda leaf: leaf[:2], data.x))
    y = leaves_of(data.y)[0]
    if data.task == "classification" and out.shape[1] == 1 and y.shape[1] == 2:
        plain = net

        def both(x: Any) -> Tensor:
            return nn.functional.pad(plain(x), (1, 0))  # the logit of the second class, against zero

        net, out = both, nn.functional.pad(out, (1, 0))
    if out.shape[1] != y.shape[1]:
        mend = "Give the data set with the classes in the order that the network was trained with."
        raise ConfigError(expected("model", "robustness", f"to return {y.shape[1]} outputs a row, as many as the target has", out.shape[1], mend))
    if not torch.isfinite(out).all():
        raise ConfigError(
            "Expected a network that returns finite numbers for the rows as they are, got NaN or infinity. Train it again at a lower learning rate."
        )
    return Dataset(map_leaves(lambda leaf: _placed(leaf, out), data.x), y.to(out.device, out.dtype), data.task), net


def _placed(leaf: Tensor, like: Tensor) -> Tensor:
    return leaf.detach().to(like.device, like.dtype) if leaf.is_floating_point() else leaf.detach().to(like.device)


def _paired(x: Any, y: Any, net: Callable[[Any], Tensor]) -> Dataset:
    y = y.detach() if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y))
    if y.is_floating_point():
        return as_dataset(x, y, task="regression")
    blank = as_dataset(x, torch.zeros(len(y)), task="regression")
    with torch.no_grad():
        width = net(map_leaves(lambda leaf: leaf[:2], blank.x)).shape[1]
    return as_dataset(x, y, task="classification", classes=range(max(width, 2)))


def _unit(x: Any, scale: Any, bounds: Bounds) -> Any:
    """The unit of eps for every leaf."""
    if scale is None:
        return scale_of(x) if bounds is None else map_leaves(lambda leaf: leaf.new_ones(()), x)
    if isinstance(x, dict) and not isinstance(scale, dict):
        scale = dict.fromkeys(x, scale)
    if isinstance(scale, dict) and (not isinstance(x, dict) or set(scale) != set(x)):
        raise ConfigError(expected("scale", "robustness", "in the structure of the inputs", sorted(scale)))

    def one(leaf: Tensor, given: Any) -> Tensor:
        unit = torch.as_tensor(given).to(leaf.device, leaf.dtype)
        try:
            fits = torch.broadcast_shapes(unit.shape, leaf.shape) == leaf.shape
        except RuntimeError:
            fits = False
        if leaf.is_floating_point() and not (fits and bool(torch.isfinite(unit).all()) and bool((unit >= 0).all())):
            mend = "A zero keeps an input where it is."
            raise ConfigError(expected("scale", "robustness", f"to hold finite numbers in [0, inf) that fit inputs of shape {tuple(leaf.shape)}", given, mend))
        return unit

    return map_leaves(one, x, scale)


def _sizes(eps: Any, norm: str, bounds: Bounds) -> tuple[float, ...]:
    if eps is None:
        apart = 1.0 if bounds is None else bounds[1] - bounds[0]
        return tuple(apart * size for size in SIZES[norm, bounds is not None])
    given = list(eps) if isinstance(eps, (list, tuple, np.ndarray, Tensor)) else [eps]
    good = bool(given)
    for size in given:
        good = good and not isinstance(size, (bool, str)) and hasattr(size, "__float__") and 0.0 < float(size) < math.inf
    if not good:
        raise ConfigError(expected("eps", "robustness", "to be one or several numbers in (0, inf)", eps, "The score on unmoved rows is measured anyway."))
    return tuple(sorted({float(size) for size in given}))


def _check(norm: str, steps: int, restarts: int, attacks: Sequence[str], y_scale: float, batch_size: int, seed: int) -> None:
    if norm not in NORMS:
        raise ConfigError(expected("norm", "robustness", f"to be one of {', '.join(NORMS)}", norm))
    for name, value, low in (("steps", steps, 1), ("restarts", restarts, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ConfigError(expected(name, "robustness", f"to be a whole number in [{low}, inf)", value))
    if isinstance(attacks, str) or not attacks or any(name not in ATTACKS for name in attacks):
        raise ConfigError(expected("attacks", "robustness", f"to be some of {', '.join(ATTACKS)}", attacks))
    if not 0.0 < y_scale < math.inf:
        raise ConfigError(expected("y_scale", "robustness", "in (0, inf)", y_scale))


__all__ = ["ATTACKS", "Robustness", "Score", "robustness", "wilson"]
