"""The compiled step of a program: when it is made, and how the groups of the program run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from temperance.core.ambient import quiet
from temperance.train.agreement import differing, nudge
from temperance.train.compiled import CompiledStep, Numbers, compiler_missing
from temperance.train.group import Group
from temperance.train.step import step_moments
from temperance.train.trace import Traced

BATCHES_BYTES = 1 << 18  # of minibatches that are gathered in one go
SIZES = (16, 8, 4, 1)  # of a compiled group; with two, batched products and single ones are both at their worst
TRIES = 3  # minibatches on which a compiled step is tried
REPAID = 30.0  # seconds saved that repay a compilation, which takes some ten


@dataclass(eq=False)
class Prepared:
    """What one group hands to the compiled step, and the small numbers of the steps ahead."""

    arguments: list[Tensor]
    constants: list[Tensor]
    numbers: Numbers
    batches: list[Tensor] = field(default_factory=list)
    first: int = 0
    held: int = 0


Kernels = dict[Any, "Kernel"]


class Kernel:
    """The compiled step that all groups of one program share; without one they run as they are.

    Args:
        size: slots of every group.

    Attributes:
        step: the compiled step, once there is one.
        refused: why there is none.
        names: of the sums of losses that the step adds to.
        lasting: whether later populations of the same network can use it: what it holds of this one are plain tensors of the network, which theirs has too.
        scorers: measurements of its groups, by what they measure.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.lasting = False
        self.names: tuple[str, ...] = ()
        self.step: CompiledStep | None = None
        self.scorers: dict[Any, Traced] = {}
        self.refused = compiler_missing()

    def run(self, group: Group) -> bool:
        """One step of a group, if there is a compiled one."""
        if self.step is None:
            return False
        made: Prepared | None = group.constant.get("prepared")
        if made is None:
            scalars = _scalars(group)
            constants = tree_flatten(_constants(group))[0]
            made = group.constant["prepared"] = Prepared(self.step.arguments(_kept(group), scalars), constants, self.step.numbers(scalars, group.step))
        if not made.numbers.holds(group.step):
            made.numbers = self.step.numbers(_scalars(group), group.step)
        if not made.first <= group.step < made.first + made.held:
            made.batches = [leaf for part in group.batches(_fitting(group)) for leaf in tree_leaves(part)]
            made.first, made.held = group.step, len(made.batches[0])
        batch = [leaf.select(0, group.step - made.first) for leaf in made.batches]
        self.step.run(made.arguments, torch.tensor(group.step), [*batch, *made.constants], made.numbers.at(group.step))
        return True

    def compile(self, group: Group) -> None:
        """Make the compiled step from a group of the program and try it against the plain one; what stands in the way is ``refused``."""
        if self.step is not None or self.refused:
            return
        if torch.get_default_dtype() != torch.float32:
            self.refused = f"torch's default dtype is {torch.get_default_dtype()}, which the compiler would use for new tensors"
            return
        try:
            with quiet:
                self.names = _reported(group)
                self.step = _tried(group, self.names)
            own = {(t.data_ptr(), t.shape, t.dtype) for _, t in plain_tensors(group.model)}
            self.lasting = all((t.data_ptr(), t.shape, t.dtype) in own for t in self.step.constants)
        except Exception as error:  # whatever cannot be traced or compiled runs as it is
            self.refused = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def plain_tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Tensors that modules hold as plain attributes, as places of columns: no parameters, no buffers, the same for every network of a plan.

    Example:
        >>> from temperance.nets import TableInputs
        >>> [name for name, _ in plain_tensors(TableInputs(1, (3,)))]
        ['._column', '._code']
    """
    return [(f"{path}.{name}", value) for path, module in model.named_modules() for name, value in vars(module).items() if isinstance(value, Tensor)]


def group_size(parameters: int, batch_size: int) -> int:
    """Slots of a compiled group: enough that the call's overhead is small, few enough that members stay in the cache.

    Args:
        parameters: of one network.
        batch_size: rows per step.

    Example:
        >>> group_size(5_700, 128), group_size(145_000, 128)
        (16, 1)
    """
    return next(size for size in SIZES if size == 1 or size * parameters * batch_size <= 20_000_000)


def seconds_saved(parameters: int, batch_size: int, member_steps: int) -> float:
    """About how many seconds a compiled step saves over so many steps of one network each, on two cores.

    A plain step takes some 80 microseconds a network and the time of its products and passes; a compiled one half of that.

    Example:
        >>> round(seconds_saved(5_700, 128, 1_000_000))
        60
    """
    return member_steps * 0.5 * (80e-6 + 6.0 * parameters * batch_size / 1.1e11)


def _tried(group: Group, names: tuple[str, ...]) -> CompiledStep:
    """The compiled step, if it does what the plain one does with one of the next minibatches.

    At a kink, as that of a ReLU, rounding alone may decide on which side an entry is, and then a right step is off by more than rounding. With other
    rows it seldom is.
    """
    group.start_sums(names)

    def function(kept: Any, scalars: Any, inputs: Any) -> Any:
        batch, (shared, own) = inputs
        program = group.program
        before, program.constants = program.constants, {**program.constants, **shared}
        try:
            return whole_step(group, kept, scalars, batch, own)
        finally:
            program.constants = before

    def inputs(ahead: int) -> Any:
        return tuple(group.batch(ahead)), _constants(group)

    made = CompiledStep(function, _kept(group), _scalars(group), inputs(0))
    strange: list[str] = []
    for ahead in range(min(TRIES, max(1, group.total_steps - group.step))):
        strange = _strange(group, made, function, inputs(ahead))
        if not strange:
            return made
    raise RuntimeError(f"the compiled step gives other {', '.join(strange)} than the plain one")


def _strange(group: Group, made: CompiledStep, function: Callable[..., Any], inputs: Any) -> list[str]:
    """What the compiled step gives differently; the group is then what it was."""
    kept, scalars = _kept(group), _scalars(group)
    before = tree_map(lambda t: t.detach().clone(), kept)
    expected = function(before, scalars, inputs)
    try:
        made.run(made.arguments(kept, scalars), scalars["step"], tree_flatten(inputs)[0], made.numbers(scalars, group.step).at(group.step))
        return differing(kept, expected, lambda i: function({**before, "params": nudge(before["params"], i)}, scalars, inputs))
    finally:
        for now, then in zip(tree_flatten(kept)[0], tree_flatten(before)[0], strict=True):
            now.detach().copy_(then)


def _reported(group: Group) -> tuple[str, ...]:
    """Names of what a step reports."""
    with torch.enable_grad():
        found = group.losses({**group.arena.leaves, **group.fixed}, group.buffers, group.state, group.values, group.moment(), tuple(group.batch()))
    return ("total", *found[1])


def _kept(group: Group) -> dict[str, Any]:
    """Everything that a step changes, in an order that does not depend on how the dicts came about."""
    kept = {
        "params": group.arena.views,
        "slots": {name: group.arena.views_of(slot) for name, slot in group.slots.items()},
        "buffers": group.buffers,
        "state": group.state,
        "fixed": group.fixed,
        "first_bad": group.first_bad,
        "sums": group.sums,
    }
    return _ordered(kept)


def _ordered(tree: Any) -> Any:
    return {name: _ordered(tree[name]) for name in sorted(tree)} if isinstance(tree, dict) else tree  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] -- a tree of tensors


def _constants(group: Group) -> tuple[dict[str, Any], dict[str, Any]]:
    """What regularizers know of the data, tensors that all members share and those of each member's own rows: another group may have others."""
    return {name: value for name, value in group.program.constants.items() if _is_tensors(value)}, group.own


def _fitting(group: Group) -> int:
    """Steps whose minibatches together stay in the cache."""
    rows = group.width * group.batch_size
    bytes_a_row = sum(leaf[:1].numel() * leaf.element_size() for part in (group.data.x, group.data.y) for leaf in tree_leaves(part))
    return max(1, BATCHES_BYTES // max(1, rows * bytes_a_row))


def _is_tensors(tree: Any) -> bool:
    leaves = tree_leaves(tree)
    return bool(leaves) and all(isinstance(leaf, Tensor) for leaf in leaves)


def _scalars(group: Group) -> dict[str, Any]:
    return {"keys": group.keys, "clock": group.clock(), "values": group.values, "hypers": group.hypers, "step": torch.tensor(group.step)}


def whole_step(group: Group, kept: Any, scalars: Any, batch: Any, own: Any) -> Any:
    """One step of a group from tensors to tensors, each parameter by itself: what follows its gradient is then one pass over it."""
    step, values, hypers = scalars["step"], scalars["values"], scalars["hypers"]
    moment = step_moments(group.optimizer, hypers, scalars["keys"], scalars["clock"], step, own)
    params, fixed, state = kept["params"], kept["fixed"], kept["state"]
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        total, report, buffers = group.losses({**leaves, **fixed}, kept["buffers"], state, values, moment, batch)
        found = torch.autograd.grad(total.sum(), list(leaves.values()), allow_unused=True)
    grads = {name: torch.zeros_like(params[name]) if g is None else g for name, g in zip(leaves, found, strict=True)}
    with torch.no_grad():
        if group.clips:
            grads |= group.clipped(grads, params, state, values, moment)
        columns = {name: value.unsqueeze(1) for name, value in hypers.items()}
        new: dict[str, Tensor] = {}
        metric: dict[str, Tensor] = {}
        slots: dict[str, dict[str, Tensor]] = {name: {} for name in kept["slots"]}
        for name, p in params.items():
            theta = p.reshape(group.width, *group.matrices.get(name, (-1,))).clone()
            moments = {slot: views[name].reshape(theta.shape).clone() for slot, views in kept["slots"].items()}
            decayed = theta.shape[1] if name in group.weights else 0
            wide = (-1, *[1] * (theta.dim() - 1))
            numbers = {name: value.reshape(wide) for name, value in hypers.items()}
            group.optimizer.update(theta, grads[name].reshape(theta.shape).clone(), moments, numbers, moment["lr"].reshape(wide), step, decayed)
            new[name] = theta.reshape(p.shape)
            scale = group.optimizer.scale(moments, columns, step) if group.scaled else None
            if scale is not None:
                metric[name] = scale.reshape(p.shape)
            for slot, value in moments.items():
                slots[slot][name] = value.reshape(p.shape)
        if group.finishes:
            changed, state = group.settle(new, fixed, state, values, {**moment, "metric": metric, "before": params if group.looks_back else {}})
            new |= changed
        total = total.detach()
        first_bad = torch.where(~torch.isfinite(total) & (kept["first_bad"] < 0), step, kept["first_bad"])
        sums = {name: kept["sums"][name] + value.detach() for name, value in {"total": total, **report}.items()}
    buffers = {name: b.detach() for name, b in buffers.items()}
    return _ordered({"params": new, "slots": slots, "buffers": buffers, "state": state, "fixed": fixed, "first_bad": first_bad, "sums": sums})
