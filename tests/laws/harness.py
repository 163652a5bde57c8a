"""Small problems and a plain population loop, on which every law is stated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

import temperance.regularizers  # noqa: F401 -- fills the registry
from temperance.core.batch import Batch, full_batch, is_image, leaves_of, map_leaves
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, Heads, SoftmaxCrossEntropy, SquaredError
from temperance.core.inputs import scale_of
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.random import key_of
from temperance.core.registry import REGISTRY
from temperance.core.regularizer import Regularizer
from temperance.core.selector import AllParameters, Hidden
from temperance.nets import Residual

ROWS = 6


class Table(nn.Module):
    """Numbers and category codes, a normalization layer, two heads.

    The width under BatchNorm1d is a multiple of 32: otherwise the sums over rows in its backward pass run through other vector lanes for another
    number of members, and their last bit differs.
    """

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm1d) -> None:
        super().__init__()
        self.codes = nn.Embedding(5, 2)
        self.body = nn.Sequential(nn.Linear(8, 32), norm(32), nn.Tanh(), nn.Linear(32, 5), nn.ReLU())
        self.kind = nn.Linear(5, 3)
        self.price = nn.Linear(5, 2)
        self.blocks = nn.Sequential(Residual(nn.Linear(5, 5)), Residual(nn.Identity(), nn.Linear(5, 5)))

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        h = self.blocks(self.body(torch.cat([x["numbers"], self.codes(x["codes"]).flatten(1)], 1)))
        return {"kind": self.kind(h), "price": self.price(h)}


def blocks() -> list[nn.Module]:
    """A residual branch and two parallel ones on a grid, without parameters; two that were alike could not be told apart by their weights."""
    return [Residual(nn.Tanh()), Residual(nn.Identity(), nn.Tanh())]


class Pixels(nn.Module):
    """Hidden units on the grid of an image, without a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(2, 4, 5))
        self.body = nn.Sequential(nn.ReLU(), *blocks(), nn.Flatten(), nn.Linear(40, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x * self.scale)


class Image(nn.Module):
    """A convolution with BatchNorm on images that are not square."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), *blocks(), nn.Flatten(), nn.Linear(60, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@dataclass
class Problem:
    """A network, a loss, and minibatches."""

    build: Callable[[], nn.Module]
    criterion: Criterion
    rows: Callable[[torch.Generator], Batch]
    dtype: torch.dtype = torch.float32

    def model(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return self.build().to(self.dtype)

    def batch(self, step: int) -> Batch:
        return cast_batch(self.rows(torch.Generator().manual_seed(100 + step)), self.dtype)

    @property
    def constants(self) -> dict[str, Any]:
        return {"input_scale": scale_of(self.batch(0).x)}

    def in_dtype(self, dtype: torch.dtype) -> Problem:
        return replace(self, dtype=dtype)


def cast_batch(batch: Batch, dtype: torch.dtype) -> Batch:
    def cast(tree: Any) -> Any:
        return map_leaves(lambda t: t.to(dtype) if t.is_floating_point() else t, tree)

    return Batch(cast(batch.x), cast(batch.y), cast(batch.weight), batch.labeled, batch.row_id)


def _table_rows(g: torch.Generator) -> Batch:
    x = {"numbers": torch.randn(ROWS, 4, generator=g), "codes": torch.randint(0, 5, (ROWS, 2), generator=g)}
    y = {"kind": torch.eye(3)[torch.randint(0, 3, (ROWS,), generator=g)], "price": torch.randn(ROWS, 2, generator=g)}
    labeled = {"kind": torch.arange(ROWS) != 2, "price": torch.arange(ROWS) != 4}
    return full_batch(x, y, weight=torch.rand(ROWS, generator=g) + 0.5, labeled=labeled)


def _image_rows(g: torch.Generator) -> Batch:
    x, y = torch.rand(ROWS, 2, 4, 5, generator=g), torch.eye(3)[torch.randint(0, 3, (ROWS,), generator=g)]
    return full_batch(x, y, labeled=torch.arange(ROWS) != 3)


PROBLEMS = {
    "table": Problem(Table, Heads((("kind", SoftmaxCrossEntropy(), 1.0), ("price", SquaredError(), 0.5))), _table_rows),
    "image": Problem(Image, SoftmaxCrossEntropy(), _image_rows),
}


@dataclass
class Alone:
    """A problem, and how many copies of one member stand for this member alone."""

    problem: Problem
    copies: int


# For a single member, torch's vmap rules hand BatchNorm's backward pass another memory layout and convolutions another kernel than for two or more;
# there a member alone runs twice side by side. Elsewhere alone means one member.
ALONE = {
    "dense": Alone(replace(PROBLEMS["table"], build=lambda: Table(nn.LayerNorm)), 1),
    "pixels": Alone(replace(PROBLEMS["image"], build=Pixels), 1),
    "batchnorm": Alone(PROBLEMS["table"], 2),
    "convolution": Alone(PROBLEMS["image"], 2),
}


class Teacher(nn.Module):
    """Fixed answers that depend on the row, for the problems here and for tables of two numbers with three classes."""

    def forward(self, x: Any) -> Any:
        if isinstance(x, dict) and "num" in x:
            return torch.cat([x["num"], x["num"][:, :1].square()], 1)
        if isinstance(x, dict):
            return {"kind": 2.0 * x["numbers"][:, :3], "price": x["numbers"][:, 1:3]}
        return 4.0 * x.flatten(1)[:, :3]


# Small values of static whole numbers, so that a few steps exercise them.
SMALL: dict[tuple[str, str], Any] = {
    ("PGD", "steps"): 2,
    ("PGD", "restarts"): 2,
    ("Lookahead", "k"): 2,
    ("FGSM", "bounds"): (-3.0, 3.0),
    ("PGD", "bounds"): (-3.0, 3.0),
}
SMALL["Denoising", "where"] = Hidden()  # the networks here report no costs of their own
SMALL["Distillation", "teacher"] = Teacher()
# Biases of one length stand in every network here, weights of one shape do not.
SMALL |= {("SoftSharing", "where"): AllParameters(), ("Tying", "where"): AllParameters()}
# Strengths strong enough to be seen after a few steps, where the default is not.
STRONG: dict[tuple[str, str], float] = {
    ("MaxNorm", "c"): 0.5,
    ("CutMix", "p"): 1.0,
    ("SWA", "start"): 0.2,
    ("Dropout", "input_rate"): 0.2,
    ("LabelNoise", "p"): 0.6,
    ("GradClip", "norm"): 0.1,
    ("GradClip", "ratio"): 0.05,
    ("GradClipValue", "value"): 0.01,
    ("L1", "lam"): 1e-2,
    ("ElasticNet", "alpha"): 1e-2,
    ("ElasticNet", "beta"): 1e-2,
    ("GroupLasso", "lam"): 1e-2,
    ("MaxAbs", "c"): 0.1,
    ("NormBall", "radius"): 0.5,
    ("SpectralNorm", "c"): 0.5,
    ("L2", "lam"): 1e-2,
    ("ActivationSparsity", "lam"): 1e-2,
    ("PseudoLabels", "threshold"): 0.1,
    ("Affine", "translate"): 0.2,
    ("Affine", "flip"): 0.5,
    ("Affine", "scale"): 0.2,
    ("Affine", "stretch"): 0.2,
    ("Affine", "shear"): 10.0,
}


def strong(cls: type[Regularizer], **options: Any) -> Regularizer:
    """A regularizer that visibly acts within a few steps."""
    values = {field: STRONG[cls.__name__, field] for field in cls.strengths() if (cls.__name__, field) in STRONG}
    return cls(**values, **options)


def variants() -> dict[str, Regularizer]:
    """Every registered regularizer with its defaults, and once for every other choice of an option."""
    from temperance.core.strength import options_of

    out: dict[str, Regularizer] = {}
    for name, cls in sorted(REGISTRY.items()):
        if not cls.__module__.startswith("temperance."):
            continue
        small = {field: value for (owner, field), value in SMALL.items() if owner == name and field != "bounds"}
        out[name] = strong(cls, **small)
        for field, spec in options_of(cls).items():
            choices = [c for c in spec.choices or () if c != spec.default]
            if (name, field) in SMALL and field not in small:
                choices.append(SMALL[name, field])
            for choice in choices:
                out[f"{name}-{field}={choice}"] = strong(cls, **small, **{field: choice})
    return out


VARIANTS = variants()


def fits(regularizer: Regularizer, problem: Problem) -> bool:
    """Whether the task is one that the regularizer serves, and the inputs hold what it acts on."""
    tasks = problem.criterion.tasks
    if not any(task in regularizer.tasks for task in (tasks.values() if isinstance(tasks, dict) else [tasks])):
        return False
    return regularizer.acts_on == "any" or any(is_image(leaf) for leaf in leaves_of(problem.batch(0).x))


def pairs(problems: Mapping[str, Problem]) -> list[tuple[str, str]]:
    """Names of every variant with every problem that fits it."""
    return [(variant, name) for variant, r in VARIANTS.items() for name, problem in problems.items() if fits(r, problem)]


def problem_of(regularizer: Regularizer) -> Problem:
    """The first problem that fits."""
    return next(problem for problem in PROBLEMS.values() if fits(regularizer, problem))


@dataclass
class Trace:
    """What a short training run produced, stacked over members."""

    losses: list[Tensor]
    reports: list[dict[str, Tensor]]
    grads: list[dict[str, Tensor]]
    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    state: dict[str, Any]
    read_params: dict[str, Tensor]
    read_buffers: dict[str, Tensor]

    def tensors(self) -> list[Tensor]:
        """Everything but reports and state, in a fixed order."""
        grads = [g for step in self.grads for g in step.values()]
        return [*self.losses, *grads, *self.params.values(), *self.buffers.values(), *self.read_params.values(), *self.read_buffers.values()]

    def member(self, i: int) -> list[Tensor]:
        return [t[i] for t in self.tensors()]


def refresh(params: Any, buffers: Any) -> Any:
    """Stands for the re-estimation of BatchNorm: anything that depends on the parameters."""
    shift = torch.stack([p.sum() for p in params.values()]).sum()
    return {name: b + shift.to(b.dtype) if b.is_floating_point() else b for name, b in buffers.items()}


def train(cocktails: Sequence[Cocktail], problem: Problem, seeds: Sequence[int], steps: int = 3, lr: float = 0.1) -> Trace:
    """A few steps of gradient descent for a population, by vmap over the program of one member."""
    model, k = problem.model(), len(cocktails)
    program = Program(cocktails[0], model, problem.criterion, problem.constants)

    def stack(tensors: Any) -> dict[str, Tensor]:
        return {name: t.detach().unsqueeze(0).repeat(k, *[1] * t.dim()) for name, t in tensors}

    params, buffers = stack(model.named_parameters()), stack(model.named_buffers())
    strengths = [c.strengths() for c in cocktails]
    values = {name: torch.tensor([s[name] for s in strengths], dtype=problem.dtype) for name in strengths[0]}
    keys = torch.stack([key_of(seed) for seed in seeds])
    state = torch.vmap(program.init)(params)
    losses, reports, all_grads = [], [], []
    for step in range(steps):
        batch = tuple(map_leaves_deep(lambda t: t.unsqueeze(0).repeat(k, *[1] * t.dim()), problem.batch(step)))
        moment = {
            "key": step_key(keys, step),
            "step": torch.full((k,), step),
            "progress": torch.full((k,), step / steps, dtype=problem.dtype),
            "lr": torch.full((k,), lr, dtype=problem.dtype),
            "lr_factor": torch.full((k,), 0.5, dtype=problem.dtype),
        }

        def loss(p: Any, b: Any, s: Any, v: Any, m: Any, rows: Any) -> Any:
            total, report, after, _ = program.loss(p, b, s, v, Moment(**m), Batch(*rows))
            return total, report, after

        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        total, report, after = torch.vmap(loss)(leaves, buffers, state, values, moment, batch)
        found = torch.autograd.grad(total.sum(), list(leaves.values()), allow_unused=True)
        grads = {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(leaves.items(), found, strict=True)}
        buffers = {name: b.detach() for name, b in after.items()}
        with torch.no_grad():
            grads = torch.vmap(lambda g, p, s, v, m: program.change_grads(g, p, s, v, Moment(**m)))(grads, params, state, values, moment)
            moment["before"], params = params, {name: p - lr * grads[name] for name, p in params.items()}
            params = torch.vmap(lambda p, s, v, m: program.after_step(p, s, v, Moment(**m)))(params, state, values, moment)
            state = torch.vmap(lambda s, p, v, m: program.track(s, p, v, Moment(**m)))(state, params, values, moment)
        losses.append(total.detach())
        reports.append({name: v.detach() for name, v in report.items()})
        all_grads.append(grads)
    progress = torch.ones(k, dtype=problem.dtype)
    with torch.no_grad():
        read = torch.vmap(lambda s, p, b, v, q: program.readout(s, p, b, v, q, refresh))(state, params, buffers, values, progress)
    return Trace(losses, reports, all_grads, params, buffers, state, *read)


def map_leaves_deep(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    """Apply to every tensor of nested dicts and tuples."""
    if isinstance(tree, dict):
        return {name: map_leaves_deep(function, value) for name, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map_leaves_deep(function, value) for value in tree)
    return function(tree)


def tensors_of(tree: Any) -> list[Tensor]:
    """Every tensor of nested dicts, lists and tuples."""
    if isinstance(tree, dict):
        return [t for value in tree.values() for t in tensors_of(value)]
    if isinstance(tree, (tuple, list)):
        return [t for value in tree for t in tensors_of(value)]
    return [tree] if isinstance(tree, Tensor) else []


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    """Bit for bit, NaN counted as different."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def first_difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> str:
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if not torch.equal(x, y):
            return f"tensor {i} of shape {tuple(x.shape)} differs by {(x.double() - y.double()).abs().max().item():g}"
    return "none"
