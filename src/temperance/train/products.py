"""Matrix products of a compiled step by the faster of two libraries."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, fx

ONEDNN_FROM = 2_000_000  # multiply-adds from which a product repays oneDNN's call
_aten: Any = torch.ops.aten


def _product(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b)


_op: Any = torch.library.custom_op("temperance::product", _product, mutates_args=(), schema="(Tensor a, Tensor b) -> Tensor")
_op.register_fake(lambda a, b: a.new_empty(a.shape[0], b.shape[1]))


@cache
def _lowered() -> bool:
    """Tell torch's compiler how to compute the operator: by the call it has for layers of constant weights."""
    from torch._inductor import ir, mkldnn_ir
    from torch._inductor.lowering import register_lowering

    def product(a: Any, b: Any) -> Any:
        left = ir.ExternKernel.realize_input(a)
        right = ir.ExternKernel.realize_input(_transposed(b))
        size = [left.get_size()[0], right.get_size()[0]]
        layout = ir.FixedLayout(left.get_device(), left.get_dtype(), size)
        return ir.TensorBox.create(mkldnn_ir.LinearUnary(layout=layout, inputs=[left, right], constant_args=[None, "none", [-1], ""]))

    def _transposed(b: Any) -> Any:
        from torch._inductor.lowering import permute

        return permute(b, [1, 0])

    register_lowering(torch.ops.temperance.product.default, type_promotion_kind=None)(product)
    return True


def by_onednn(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices by oneDNN, whatever torch would choose."""
    return torch.ops.mkldnn._linear_pointwise(a, b.t(), None, "none", [], "")


def place_eager_products(graph: fx.GraphModule) -> None:
    """:func:`place_products` for a graph that is replayed, not compiled."""
    if torch.backends.mkldnn.is_available():
        _replace(graph, by_onednn)


def place_products(graph: fx.GraphModule) -> None:
    """Let oneDNN compute the large single-precision products of two matrices on a CPU.

    MKL uses half of a vector register's width on processors that are not Intel's: there oneDNN is twice as fast, elsewhere as fast. Small products and
    batches of them stay with MKL, whose call costs a third. Both sum in the same order; operands may be transposed views.
    """
    if torch.backends.mkldnn.is_available() and _lowered():
        _replace(graph, _op._opoverload)


def _replace(graph: fx.GraphModule, product: Any) -> None:
    for node in list(graph.graph.nodes):
        if node.op != "call_function" or node.target not in (_aten.mm.default, _aten.addmm.default) or node.kwargs:
            continue
        bias, (a, b) = (node.args[0], node.args[1:3]) if node.target == _aten.addmm.default else (None, node.args)
        if "val" not in a.meta or "val" not in b.meta:  # a constant of the network's own
            continue
        left, right = a.meta["val"], b.meta["val"]
        if left.dtype != torch.float32 or left.device.type != "cpu" or left.shape[0] * left.shape[1] * right.shape[1] < ONEDNN_FROM:
            continue
        with graph.graph.inserting_before(node):
            new = graph.graph.call_function(product, (a, b))
            new.meta["val"] = node.meta["val"]
            if bias is not None:
                new = graph.graph.call_function(_aten.add.Tensor, (new, bias))
                new.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(new)
        graph.graph.erase_node(node)
    graph.recompile()
