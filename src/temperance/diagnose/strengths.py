"""What a little more or less of each regularizer would do to the validation loss: hyper-gradients by implicit differentiation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy import stats
from torch import Tensor, nn

from temperance.core.batch import map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Opaque
from temperance.core.moment import Moment
from temperance.core.program import Program, wiring_for
from temperance.core.random import fold, key_of
from temperance.core.schedule import Schedule
from temperance.core.strength import StrengthSpec
from temperance.diagnose.finding import Finding, Skip
from temperance.diagnose.hessian import Vector
from temperance.diagnose.subject import Subject, dot
from temperance.nets import Average
from temperance.train.own import scale_of, target_scale

DRAWS = 8  # of masks, noise and partners, the same for every point that is compared
BENDS = 1024  # rows times draws from which the curvature is taken, at least
STEPS = 40  # of conjugate gradients
DAMPING = 1e-6  # of the largest curvature
TOLERANCE = 1e-4  # of the residual, relative
NUDGE = 0.02  # of a strength, either way
TENTH = 0.1  # the change that is told
LEVEL = 0.99  # of all intervals together
SHARE = 0.001  # of the validation loss: less is not worth telling
ROUGH = 0.05  # share of the training loss that a Newton step would still gain: more, and the network is far from a minimum
IN_THE_LOSS = frozenset(("batch", "weights", "hidden", "penalty"))


def strengths(subject: Subject) -> list[Finding]:
    """Says for each strength of the cocktail what a tenth more of it would do to the validation loss.

    Formula: training ends where the gradient of J(θ, λ), the expected training loss with its regularizers, is zero. So θ moves with a strength by
    ∂θ/∂λ = -H⁻¹ ∂²J/∂θ∂λ, with H = ∂²J/∂θ², and the validation loss V by dV/dλ = ∇V · ∂θ/∂λ. H⁻¹ is applied by conjugate gradients, which stop at
    negative curvature. ∂²J/∂θ∂λ is a difference of two gradients with the same masks and noise, over eight draws, so that the rate of a mask has a
    derivative as well. Intervals are for other validation rows and other draws, and hold for all strengths together in 99 % of cases.

    What: it is the derivative at the minimum that the network is in. It knows nothing of other minima, of early stopping, or of large changes. A network
    far from a minimum, by the fall of the loss that a Newton step promises, is told to be so.

    When: give the cocktail the network was trained with, and validation rows. Regularizers that act on the step and not in the loss (weight decay,
    clipping, averages, SAM) have no such derivative.

    Cost: for each strength, and twice more, some forty products with the Hessian of two draws or more.

    Reference: Larsen et al. (1996), Design and regularization of neural networks: the optimal use of a validation set; Lorraine, Vicol & Duvenaud
    (2020), Optimizing millions of hyperparameters by implicit differentiation.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(net.weight)  # the minimum of the mean of (1.5 - w)² with L2(1), at 3 / (2 + λ)
        >>> rows = torch.tensor([[1.0], [-1.0]])
        >>> found = tp.diagnose(net, (rows, 1.5 * rows), validation=(rows, 1.5 * rows), cocktail=tp.Cocktail(tp.L2(1.0)), checks="strengths")
        >>> round(found["strengths"].value["strengths"]["l2.lam"]["slope"], 2)
        0.33
    """
    if subject.cocktail is None:
        raise Skip("it differentiates by strengths; give cocktail=, with which the network was trained")
    held = subject.held_out
    if isinstance(subject.model, Average):
        raise Skip("the model averages networks, each with a minimum of its own")
    if not len(subject.cocktail):
        raise Skip("the cocktail holds no regularizer")
    at, left_out = Regularized.of(subject)
    gradient, slope = at.gradient(), subject.gradient(rows=held)[1]
    subject.hvp(slope)  # skips a network without second derivatives, where those of a penalty alone would pass for all
    answer, bends = at.solve(slope)
    newton, _ = at.solve(gradient)
    promised = 0.5 * dot(gradient, newton)
    loss, base = subject.loss(rows=held), at.loss
    z = float(stats.norm.ppf(1 - (1 - LEVEL) / (2 * len(at.names))))
    found: dict[str, dict[str, float]] = {}
    for name, spec, value in zip(at.names, at.specs, at.strengths, strict=True):
        unit = TENTH * (value if value != spec.off else spec.default)
        each = at.mixed(name, spec)
        draws = torch.tensor([-dot(answer, one) for one in each], dtype=torch.float64)
        mean = [torch.stack(parts).mean(0) for parts in zip(*each, strict=True)]
        rows = at.along([-part for part in at.solve(mean)[0]], held)
        middle = float(draws.mean())
        error = math.sqrt((float(draws.var()) / len(draws) if len(draws) > 1 else 0.0) + float(rows.var()) / len(rows))
        found[name] = {"value": value, "slope": middle, "change": unit * middle, "low": unit * (middle - z * error), "high": unit * (middle + z * error)}
        found[name]["by"] = unit
    rough = promised > ROUGH * abs(base) or bends
    value = {"strengths": found, "validation_loss": loss, "promised": promised, "negative_curvature": bends}
    return [_finding(value, loss, rough, left_out)]


def _finding(value: dict[str, Any], loss: float, rough: bool, left_out: Sequence[str]) -> Finding:
    """What the slopes say."""
    found: dict[str, dict[str, float]] = value["strengths"]
    sure = {name: s for name, s in found.items() if (s["low"] > 0 or s["high"] < 0) and abs(s["change"]) >= SHARE * abs(loss)}
    texts: list[str] = []
    for name, s in sorted(sure.items(), key=lambda item: -abs(item[1]["change"])):
        low, high = sorted((abs(s["low"]), abs(s["high"])))
        way = "raising" if s["change"] < 0 else "lowering"
        if s["value"] - s["by"] < 0 and way == "lowering":
            continue
        texts.append(f"{way} {name} by {s['by']:.3g} would lower the validation loss by {abs(s['change']):.2g} ({low:.2g} to {high:.2g})")
    text = "; ".join(texts) if texts else f"a tenth more or less of {', '.join(found)} would not surely lower the validation loss"
    text = text[0].upper() + text[1:]
    text += f", which is {loss:.4g}."
    if rough:
        text += " The network is not at a minimum of its training loss, so this is rough."
    if left_out:
        text += f" No derivative: {'; '.join(left_out)}."
    remedy = "Train again with that dose, or let tp.search find it." if texts else ""
    return Finding("strengths", "doses" if texts else "strengths", value, text, "look" if texts else "fine", remedy)


@dataclass(eq=False)
class Regularized:
    """The regularized training loss of a network, as its parameters and strengths move.

    Attributes:
        subject: the network and its rows.
        program: the cocktail bound to the network.
        values: every strength.
        names: of those that can be differentiated by.
        specs: their declarations.
        own: constants of the training rows.
        loss: its value at the parameters, once :meth:`gradient` was called.
        draws: of masks and noise that are averaged.
    """

    subject: Subject
    program: Program
    values: dict[str, float]
    names: list[str]
    specs: list[StrengthSpec]
    own: dict[str, Any]
    loss: float = math.nan
    draws: int = DRAWS

    @classmethod
    def of(cls, subject: Subject) -> tuple[Regularized, list[str]]:
        """The loss, and what cannot be differentiated by, with the reason.

        Raises:
            Skip: nothing can, or the network draws by itself.
            ConfigError: the network cannot take the cocktail.
        """
        cocktail = subject.cocktail
        assert cocktail is not None
        drawing = [name for name, m in subject.model.named_modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]  # pyright: ignore[reportPrivateUsage] -- torch has no public base of its dropouts
        if drawing:
            raise Skip(f"the network drops units by itself ({drawing[0]}); give these as tp.Dropout in the cocktail instead")
        left_out: list[str] = []
        kept: list[Any] = []
        for _, r in cocktail.items():
            scheduled = any(isinstance(v, Schedule) for v in r.values().values())
            if not set(r.sites()) <= IN_THE_LOSS:
                left_out.append(f"{type(r).__name__} acts outside the loss")
            elif scheduled:
                left_out.append(f"{type(r).__name__} is on a schedule")
            elif not r.strengths():
                left_out.append(f"{type(r).__name__} has no strength")
            else:
                kept.append(r)
        if not kept:
            raise Skip(f"no strength of the cocktail has a derivative: {'; '.join(left_out)}")
        part = Cocktail(*kept)
        batch, _ = next(subject.chunks())
        program = Program(part, subject.model, subject.criterion, wiring=wiring_for([part], subject.model, batch.x))
        specs, values = part.specs(), part.strengths()
        names = [name for name in specs if math.isfinite(values[name]) and _ends(values[name], specs[name])]
        if not names:
            raise Skip("no strength of the cocktail has a dose to differentiate at: all are off")
        own = {"input_scale": scale_of(subject.train.x), "target_scale": target_scale(subject.train)}
        return cls(subject, program, values, names, [specs[name] for name in names], own), left_out

    @property
    def strengths(self) -> list[float]:
        return [self.values[name] for name in self.names]

    def gradients(self, params: Any, draw: int, changed: dict[str, float] | None = None, vector: Vector | None = None) -> tuple[float, Vector]:
        """The loss of one draw and its gradient, or with a vector the product of its Hessian with it.

        Raises:
            Skip: no (second) derivative.
        """
        leaves = self.subject.leaves(params)
        parameters = list(leaves.values())
        total, found = 0.0, [torch.zeros_like(p) for p in parameters]
        like = parameters[0]
        values = {name: torch.tensor(value, dtype=like.dtype, device=like.device) for name, value in {**self.values, **(changed or {})}.items()}
        fixed = self.subject.fixed
        frozen = {name: fixed[name] for name, p in self.subject.model.named_parameters() if name in fixed}
        buffers = {name: b for name, b in fixed.items() if name not in frozen}
        for k, (batch, share) in enumerate(self.subject.chunks()):
            key = fold(fold(key_of(self.subject.seed), draw), k).to(like.device)
            one = torch.ones((), dtype=like.dtype, device=like.device)
            moment = Moment(key, torch.zeros((), dtype=torch.int64, device=like.device), one, one, own=self.own)
            loss = self.program.loss({**frozen, **leaves}, buffers, {}, values, moment, batch)[0]
            if not loss.requires_grad:
                raise Skip("no gradient passes through the network")
            total += share * float(loss.detach())
            grads: Sequence[Tensor | None] = torch.autograd.grad(loss, parameters, create_graph=vector is not None, allow_unused=True)
            if vector is not None:
                terms = [(g * v).sum() for g, v in zip(grads, vector, strict=True) if g is not None and g.requires_grad]
                if not terms:
                    raise Skip("the network has no second derivatives here")
                grads = torch.autograd.grad(torch.stack(terms).sum(), parameters, allow_unused=True)
            for sum_, g in zip(found, grads, strict=True):
                if g is not None:
                    sum_.add_(g, alpha=share)
        return total, found

    def gradient(self) -> Vector:
        """The gradient of the expected loss."""
        found = [self.gradients(None, draw) for draw in range(2)]
        if all(bool((a == b).all()) for a, b in zip(found[0][1], found[1][1], strict=True)):
            self.draws, found = 1, found[:1]  # nothing is drawn
        found += [self.gradients(None, draw) for draw in range(len(found), self.draws)]
        self.loss = sum(loss for loss, _ in found) / len(found)
        return [torch.stack(parts).mean(0) for parts in zip(*(g for _, g in found), strict=True)]

    def product(self, vector: Vector) -> Vector:
        """The Hessian of the expected loss times a vector."""
        many = min(self.draws, max(2, math.ceil(BENDS / len(self.subject.train))))
        found = [self.gradients(None, draw, vector=vector)[1] for draw in range(many)]
        return [torch.stack(parts).mean(0) for parts in zip(*found, strict=True)]

    def solve(self, vector: Vector) -> tuple[Vector, bool]:
        """H⁻¹ times a vector by conjugate gradients; and whether they stopped at negative curvature.

        Source:
            Steihaug, *The conjugate gradient method and trust regions in large scale optimization* (1983).
        """
        x = [torch.zeros_like(v) for v in vector]
        r, p = [v.clone() for v in vector], [v.clone() for v in vector]
        size = start = dot(r, r)
        top = 0.0
        for _ in range(STEPS):
            if size <= TOLERANCE**2 * start or size == 0:
                break
            hp = self.product(p)
            bend, length = dot(p, hp), dot(p, p)
            top = max(top, bend / length)
            bend += DAMPING * top * length
            if bend <= 0:
                return x if any(bool(part.any()) for part in x) else [v * 0 for v in vector], True
            step = size / bend
            x = [a + step * b for a, b in zip(x, p, strict=True)]
            r = [a - step * (b + DAMPING * top * c) for a, b, c in zip(r, hp, p, strict=True)]
            after = dot(r, r)
            p = [a + (after / size) * b for a, b in zip(r, p, strict=True)]
            size = after
        return x, False

    def mixed(self, name: str, spec: StrengthSpec) -> list[Vector]:
        """∂²J/∂θ∂λ for each draw: the difference of two gradients with the same draws."""
        low, high = _ends(self.values[name], spec)
        out: list[Vector] = []
        for draw in range(self.draws):
            below, above = (self.gradients(None, draw, {name: end})[1] for end in (low, high))
            out.append([(a - b) / (high - low) for a, b in zip(above, below, strict=True)])
        return out

    def along(self, direction: Vector, rows: Any) -> Tensor:
        """How the loss of each row changes as the parameters move along a direction: a central difference."""
        size = math.sqrt(dot(direction, direction))
        if size == 0:
            return torch.zeros(len(rows), dtype=torch.float64)
        step = 1e-3 * self.subject.radius / size
        ends = [_losses(self.subject, self.subject.moved(direction, sign * step), rows) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)


def _ends(value: float, spec: StrengthSpec) -> list[float]:
    """A little less and a little more of a strength, or itself where that would be illegal; nothing where neither is legal, or it is off and so is its default.

    Example:
        >>> import temperance as tp
        >>> spec = tp.L2.strengths()["lam"]
        >>> [round(end, 4) for end in _ends(0.1, spec)], _ends(0.0, spec)[0]
        ([0.098, 0.102], 0.0)
    """
    step = NUDGE * (value if value != spec.off else spec.default)
    ends = [end for end in (value - step, value + step) if step and end in spec.valid]
    return sorted([*ends, value])[:2] if len(ends) == 1 else ends


def _losses(subject: Subject, params: Any, rows: Any) -> Tensor:
    """The loss of every row by itself, in double precision."""
    out: list[Tensor] = []
    with torch.no_grad():
        for batch, _ in subject.chunks(rows):
            scores = subject.output(batch.x, params)
            if isinstance(scores, Tensor) and not isinstance(subject.criterion, Opaque):
                out += (batch.weight * subject.criterion.per_row(scores, batch.y)).double().cpu().unbind()
                continue
            for i in range(len(batch.weight)):
                one = map_leaves(lambda leaf, i=i: leaf[i : i + 1], batch.y)
                part = batch._replace(x=map_leaves(lambda leaf, i=i: leaf[i : i + 1], batch.x), y=one, weight=batch.weight[i : i + 1])
                out.append(subject.criterion(map_leaves(lambda leaf, i=i: leaf[i : i + 1], scores), part).double().cpu())
    return torch.stack(out)
