"""A training step as machine code: traced once for groups of one fixed size, compiled by torch's compiler, shared by all groups of a program."""

from __future__ import annotations

import math
import os
import shutil
import sysconfig
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from temperance.core.inline import INLINE
from temperance.train.products import place_products

BLOCK = 64  # steps whose small numbers (keys, rates, permutations) are computed in one go
_COMPILING = threading.Lock()
_aten: Any = torch.ops.aten
_VIEWS = {_aten.unsqueeze, _aten.expand, _aten.view, _aten.permute, _aten.slice, _aten.select, _aten.squeeze, _aten.alias, _aten.t, _aten.transpose}
_VIEWS |= {_aten._unsafe_view, _aten.reshape, _aten.detach}


def compiler_missing() -> str:
    """Why nothing can be compiled here, or an empty string.

    Example:
        >>> compiler_missing() == "" or compiler_missing().startswith("no ")
        True
    """
    named = os.environ.get("CXX", "").split(" ")[0]
    if not any(shutil.which(name) for name in (named, "g++", "clang++", "c++") if name):
        return "no C++ compiler was found"
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        return "no header files of Python were found (Debian and Ubuntu: python3-dev)"
    return ""


@cache
def warm_up() -> threading.Thread:
    """Load the compiler and let it find out what the processor can do, on a thread of its own: it tries programs for most of a second, once a process.

    What the first linear layer of a process imports is imported before: modules that import each other fail where two threads begin at opposite ends.
    """
    import torch._dynamo  # noqa: F401  # pyright: ignore[reportUnusedImport]

    def prepare() -> None:
        with suppress(Exception):  # whoever compiles will be told
            from torch._inductor import compile_fx, cpu_vec_isa  # noqa: F401  # pyright: ignore[reportUnusedImport]

            cpu_vec_isa.pick_vec_isa()

    thread = threading.Thread(target=prepare, name="temperance compiler", daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True)
class Numbers:
    """The small numbers of :data:`BLOCK` steps: for each dtype one tensor ``(BLOCK, n)``."""

    start: int
    packed: Sequence[Tensor]

    def holds(self, step: int) -> bool:
        """Whether a step is among them."""
        return self.start <= step < self.start + BLOCK

    def at(self, step: int) -> list[Tensor]:
        """Those of one step, for :meth:`CompiledStep.run`."""
        return [values.select(0, step - self.start) for values in self.packed]


class CompiledStep:
    """One step of a group, in place, as two programs.

    Numbers that depend on keys, strengths and the step alone are computed for :data:`BLOCK` steps at once by a short traced graph. Everything else is
    one compiled program, in which masks are made where they are used, and gradient, decay, moments, step, prox and averages of a parameter are one
    pass over it. It runs on the calling thread without holding Python's lock, so that groups train side by side.

    Args:
        function: ``(kept, scalars, batch) -> kept`` of trees of tensors; pure but for gradients it takes inside.
        kept: what a step changes: parameters, moments, buffers, averages, sums. Trees before and after are alike.
        scalars: ``keys``, ``step`` (a 0-d int64 tensor) and numbers of every member.
        batch: the minibatch, and further tensors, a pair of trees of fixed shapes.

    Attributes:
        constants: tensors that the function closes over.

    Raises:
        Exception: whatever torch's tracer and compiler raise; callers fall back to the function.
    """

    def __init__(self, function: Callable[[Any, Any, Any], Any], kept: Any, scalars: dict[str, Any], batch: Any) -> None:
        rest = _but_the_step(scalars)
        kept_leaves, scalar_leaves, minibatch = (tree_flatten(tree)[0] for tree in (kept, rest, batch[0]))
        leaves, spec = tree_flatten((kept, rest, scalars["step"], batch))

        def flat(*given: Tensor) -> list[Tensor]:
            kept, rest, step, batch = tree_unflatten(list(given), spec)
            return tree_flatten(function(kept, {**rest, "step": step}, batch))[0]

        with _COMPILING:
            warm_up().join()
            graph, constants = _traced(flat, leaves)
            self.constants = constants
            first = len(kept_leaves)
            scalar = set(range(first, first + len(scalar_leaves) + 1))
            limit = max(leaf.shape[0] for leaf in scalar_leaves) * 2 * max((leaf.shape[1] for leaf in minibatch if leaf.dim() > 1), default=64)
            prologue, main = _split(graph, len(kept_leaves), scalar, limit)
            self._prologue = _over_steps(prologue, [leaves[i] for i in sorted(scalar)])
            inputs = [*leaves, *constants, *self.numbers(scalars, 0).at(0)]
            self._program = _compiled(_lowered(main, inputs), inputs)

    def numbers(self, scalars: dict[str, Any], step: int) -> Numbers:
        """The small numbers of the steps from this one on."""
        rest = tree_flatten(_but_the_step(scalars))[0]
        with torch.no_grad():
            return Numbers(step, self._prologue(*rest, torch.arange(step, step + BLOCK)))

    def arguments(self, kept: Any, scalars: dict[str, Any]) -> list[Tensor]:
        """The leading arguments of :meth:`run`: they stay the same tensors from step to step."""
        return [*tree_flatten(kept)[0], *tree_flatten(_but_the_step(scalars))[0]]

    def run(self, arguments: list[Tensor], step: Tensor, batch: Sequence[Tensor], numbers: Sequence[Tensor]) -> None:
        """One step: the tensors of ``kept`` are changed in place."""
        with torch.no_grad():
            self._program([*arguments, step, *batch, *self.constants, *numbers])


def _but_the_step(scalars: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in scalars.items() if name != "step"}


def _traced(function: Callable[..., list[Tensor]], leaves: list[Tensor]) -> tuple[fx.GraphModule, list[Tensor]]:
    """The function as a graph of plain operations without side effects; tensors it closes over become further inputs."""
    graph: Any = make_fx(function, decomposition_table=INLINE, tracing_mode="fake", _allow_non_fake_inputs=True)(*leaves)
    constants: list[Tensor] = []
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    seen: dict[str, fx.Node] = {}
    for node in list(graph.graph.nodes):
        if node.op != "get_attr":
            continue
        name = str(node.target)
        if name not in seen:
            value = graph
            for part in name.split("."):
                value = getattr(value, part)
            with graph.graph.inserting_after(last):
                last = seen[name] = graph.graph.placeholder(f"constant_{len(constants)}")
            constants.append(cast(Tensor, value).detach())
        node.replace_all_uses_with(seen[name])
        graph.graph.erase_node(node)
    graph.recompile()
    pure = torch.func.functionalize(graph, remove="mutations")
    flat: Any = make_fx(pure, tracing_mode="fake")(*leaves, *constants)
    return _tidied(flat), constants


def _lowered(graph: fx.GraphModule, inputs: list[Tensor]) -> fx.GraphModule:
    """The graph in the compiler's own operations, its products placed."""
    from torch._inductor.decomposition import select_decomp_table

    made: Any = make_fx(graph, decomposition_table=cast(Any, select_decomp_table()), tracing_mode="fake")(*inputs)
    place_products(made)
    return made


def _tidied(graph: fx.GraphModule) -> fx.GraphModule:
    """Without unused and repeated operations."""
    from torch._functorch.compile_utils import fx_graph_cse

    graph.graph.eliminate_dead_code()
    return fx.GraphModule(graph, fx_graph_cse(graph.graph))


def _split(graph: fx.GraphModule, kept: int, scalar: set[int], limit: int) -> tuple[fx.GraphModule, fx.GraphModule]:
    """The part that depends on small numbers alone, and the rest, which takes its results and changes the first ``kept`` inputs in place.

    Left together, a compiler would compute a member's numbers again for each of its activations.
    """
    nodes = list(graph.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    small: dict[fx.Node, bool] = {node: i in scalar for i, node in enumerate(inputs)}
    for node in nodes:
        if node.op == "call_function":
            value = node.meta.get("val")
            small[node] = isinstance(value, Tensor) and value.numel() <= limit and all(small[a] for a in node.all_input_nodes)

    def passed_on(node: fx.Node) -> fx.Node:
        """The hoisted value itself, of which the rest makes its own views."""
        while _is_view(node) and small[node.all_input_nodes[0]]:
            node = node.all_input_nodes[0]
        return node

    wanted: dict[fx.Node, None] = {}
    for node in nodes:
        if node.op == "placeholder" or small.get(node):
            continue
        for used in node.all_input_nodes:
            if small[used] and used.op == "call_function" and (base := passed_on(used)).op == "call_function" and base.all_input_nodes:
                wanted[base] = None
    before, where = fx.Graph(), dict[fx.Node, fx.Node]()
    for i, node in enumerate(inputs):
        if i in scalar:
            where[node] = before.node_copy(node)
    for node in nodes:
        if node.op == "call_function" and small[node]:
            where[node] = before.node_copy(node, lambda n: where[n])
    after, place = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in inputs:
        place[node] = after.placeholder(node.name)
        place[node].meta = dict(node.meta)
    kinds: dict[torch.dtype, list[fx.Node]] = {}
    for node in wanted:
        kinds.setdefault(node.meta["val"].dtype, []).append(node)
    joined = [before.call_function(_aten.cat.default, ([before.call_function(_aten.reshape.default, (where[n], [-1])) for n in k],)) for k in kinds.values()]
    before.output(tuple(joined))
    packs = [after.placeholder(f"numbers_{i}") for i, _ in enumerate(kinds)]
    for pack, members in zip(packs, kinds.values(), strict=True):
        start = 0
        for node in members:
            shape = list(node.meta["val"].shape)
            piece = after.call_function(_aten.slice.Tensor, (pack, 0, start, start + math.prod(shape)))
            place[node] = after.call_function(_aten.view.default, (piece, shape))
            start += math.prod(shape)

    def fetch(node: fx.Node) -> fx.Node:
        if node not in place:
            for used in node.all_input_nodes:
                fetch(used)
            place[node] = after.node_copy(node, lambda n: place[n])
        return place[node]

    results: list[Any] = []
    for node in nodes:
        if node.op == "output":
            results = list(node.args[0])
        elif node.op == "call_function" and not small[node]:
            fetch(node)
    moved: list[tuple[fx.Node, fx.Node]] = []
    for target, result in zip(inputs[:kept], results, strict=True):
        if result is not target:
            root = result
            while _is_view(root):
                root = root.all_input_nodes[0]
            value = fetch(result)
            if root.op == "placeholder":  # another input, which may have been changed before it is read
                value = after.call_function(_aten.clone.default, (value,))
            moved.append((target, value))
    for target, value in moved:
        copy = after.call_function(_aten.copy_.default, (place[target], value))
        copy.meta = dict(target.meta)
    after.output(())
    for part in (before, after):
        part.eliminate_dead_code()
    return _tidied(fx.GraphModule(graph, before)), fx.GraphModule(graph, after)


def _is_view(node: fx.Node) -> bool:
    return node.op == "call_function" and getattr(node.target, "overloadpacket", None) in _VIEWS


def _over_steps(prologue: fx.GraphModule, small: list[Tensor]) -> Any:
    """The prologue for a row of steps: its last input is a vector of them."""
    over = torch.vmap(prologue, in_dims=(*[None] * (len(small) - 1), 0))
    graph: Any = make_fx(over)(*small[:-1], small[-1] + torch.arange(BLOCK))
    return _tidied(graph)


def _compiled(graph: fx.GraphModule, inputs: list[Tensor]) -> Any:
    """Machine code of a graph that changes inputs in place; torch keeps it on disk for later processes."""
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    mode = FakeTensorMode(shape_env=ShapeEnv())
    fakes = [mode.from_tensor(value, static_shapes=True) for value in inputs]
    FakeTensorProp(graph, mode).propagate_dont_convert_inputs(*fakes)
    own: Any = config.patch({"cpp.threads": 1, "max_pointwise_cat_inputs": 0})
    with torch.no_grad(), own, tracing(TracingContext(mode)):
        return compile_fx_inner(graph, fakes, cpp_wrapper=True, is_inference=True)
