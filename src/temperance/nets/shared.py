"""Several networks in one set of weights: BatchEnsemble and TabM."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.nets.activations import activation as make_activation
from temperance.nets.average import mean_output
from temperance.nets.mlp import Dense, check_widths, make_norm

TASKS = ("classification", "multilabel", "regression")


class MemberScale(nn.Module):
    """A vector of factors for each member: ``h[:, k] * weight[k]``. Like the scales of norms, the factors are no weights: nothing decays them.

    Args:
        members: number of members k.
        width: of the vectors.
        signs: start at random signs, so that members differ; otherwise at one.

    Shapes:
        ``(n, width)`` or ``(n, members, width)`` to ``(n, members, width)``.

    Example:
        >>> MemberScale(4, 3)(torch.ones(2, 3)).shape
        torch.Size([2, 4, 3])
    """

    embedding: ClassVar[bool] = True  # a table with a row per member: no selector takes it for a weight matrix

    def __init__(self, members: int, width: int, signs: bool = True) -> None:
        super().__init__()
        self.signs = signs
        self.weight = nn.Parameter(torch.ones(members, width))
        self.reset()

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Redraw the signs."""
        self.weight.fill_(1.0)
        if self.signs:
            self.weight.copy_(torch.randint(0, 2, self.weight.shape, generator=generator).mul_(2).sub_(1))

    def forward(self, h: Tensor) -> Tensor:
        return (h.unsqueeze(1) if h.dim() == 2 else h) * self.weight


class MemberBias(nn.Module):
    """A bias for each member, from zero: ``h[:, k] + bias[k]``."""

    embedding: ClassVar[bool] = True

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(members, width))

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Back to zero."""
        self.bias.zero_()

    def forward(self, h: Tensor) -> Tensor:
        return h + self.bias


class MemberLinear(nn.Module):
    """A linear layer of its own for each member.

    Shapes:
        ``(n, members, in_features)`` to ``(n, members, out_features)``.

    Example:
        >>> MemberLinear(4, 3, 2)(torch.ones(5, 4, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, in_features, out_features))
        self.bias = MemberBias(members, out_features)
        self.reset()

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None = None) -> None:
        """Redraw all parameters, as in a linear layer."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        self.weight.uniform_(-bound, bound, generator=generator)
        self.bias.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, h: Tensor) -> Tensor:
        return self.bias(torch.bmm(h.transpose(0, 1), self.weight).transpose(0, 1))


class BatchEnsembleLinear(nn.Module):
    r"""One weight matrix for k members, each with factors of its own: :math:`h_k = s_k \circ W (r_k \circ x) + b_k`, i.e. :math:`W_k = W \circ s_k r_k^\top`.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        members: number of members k.

    Shapes:
        ``(n, in_features)``, seen by every member, or ``(n, members, in_features)``, to ``(n, members, out_features)``.

    Source:
        Wen, Tran and Ba, *BatchEnsemble* (2020).

    Example:
        >>> BatchEnsembleLinear(3, 5, members=4)(torch.ones(2, 3)).shape
        torch.Size([2, 4, 5])
    """

    def __init__(self, in_features: int, out_features: int, members: int) -> None:
        super().__init__()
        self.r = MemberScale(members, in_features)
        self.linear = nn.Linear(in_features, out_features, bias=False)
        self.s = MemberScale(members, out_features)
        self.bias = MemberBias(members, out_features)

    def forward(self, h: Tensor) -> Tensor:
        return self.bias(self.s(self.linear(self.r(h))))


class _Shared(nn.Module):
    """Members' outputs in training, the mean of their predictions in evaluation."""

    each_member: ClassVar[bool] = True  # the loss of a training pass is the mean of the members' losses, see temperance.core.criterion.EachMember

    def __init__(self, in_features: int, out_features: int, task: str, members: int, hidden: Sequence[int], norm: str | None, inputs: nn.Module | None) -> None:
        super().__init__()
        owner = type(self).__name__
        self.widths = (*check_widths("in_features", owner, (in_features,)), *check_widths("hidden", owner, hidden))
        check_widths("out_features", owner, (out_features,))
        check_widths("members", owner, (members,))
        if task not in TASKS:
            raise ConfigError(expected("task", owner, f"to be one of {', '.join(map(repr, TASKS))}", task, "It decides how the members' outputs are averaged."))
        if norm not in (None, "layer"):
            raise ConfigError(expected("norm", owner, "in [None, 'layer']", norm, "BatchNorm would mix the members."))
        self.task, self.members, self.width = task, members, out_features
        self.inputs = inputs

    def body(self, x: Tensor) -> Tensor:
        """Every member's outputs ``(n, members, out_features)``."""
        raise NotImplementedError

    def forward(self, x: Tensor | dict[str, Tensor]) -> Tensor:
        h = x if self.inputs is None else self.inputs(x)
        assert isinstance(h, Tensor)
        out = self.body(h.unsqueeze(1) if h.dim() == 1 else h.flatten(1))
        if self.training:
            return out
        equal = torch.full((self.members,), 1 / self.members, dtype=out.dtype, device=out.device)
        return mean_output(out.transpose(0, 1), equal, self.task)


class BatchEnsemble(_Shared):
    r"""An MLP of :class:`BatchEnsembleLinear` layers: k networks that differ in the scales of their units.

    In training the output is ``(n, members, out_features)`` and the loss is the mean of the members' losses on the same rows; the trainers of this library
    see to that. In evaluation it is ``(n, out_features)``, whose prediction is the mean of the members' predictions. Beside the parameters of one MLP there are
    a few vectors a layer for each member.

    Args:
        in_features: number of inputs of a row after flattening.
        out_features: number of outputs.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``: probabilities or values are averaged.
        members: number of members k.
        hidden: widths of the hidden layers.
        activation: name of the activation.
        norm: ``None`` or ``"layer"``.
        inputs: a network that makes ``(n, in_features)`` of the data, such as :class:`~temperance.nets.TableInputs`.

    Source:
        Wen, Tran and Ba, *BatchEnsemble* (2020).

    Example:
        >>> net = BatchEnsemble(4, 3, "classification", members=8, hidden=(16,))
        >>> net(torch.zeros(5, 4)).shape, net.eval()(torch.zeros(5, 4)).shape
        (torch.Size([5, 8, 3]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        task: str,
        members: int = 8,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        norm: str | None = None,
        inputs: nn.Module | None = None,
    ) -> None:
        super().__init__(in_features, out_features, task, members, hidden, norm, inputs)
        layers: list[nn.Module] = []
        for a, b in pairwise(self.widths):
            normed = make_norm(norm, b)
            layers += [BatchEnsembleLinear(a, b, members), *([] if normed is None else [normed]), make_activation(activation)]
        self.layers = nn.Sequential(*layers, BatchEnsembleLinear(self.widths[-1], out_features, members))

    def body(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TabM(_Shared):
    r"""TabM-mini: k members that share an MLP, with a factor for each input and an output layer of their own.

    Member k sees :math:`r_k \circ x`, with random signs at the start; hidden layers are common. Losses, outputs and arguments are as in :class:`BatchEnsemble`.

    Args:
        in_features: number of inputs of a row after flattening.
        out_features: number of outputs.
        task: ``"classification"``, ``"multilabel"`` or ``"regression"``: probabilities or values are averaged.
        members: number of members k.
        hidden: widths of the hidden layers, at least one.
        activation: name of the activation.
        norm: ``None`` or ``"layer"``.
        inputs: a network that makes ``(n, in_features)`` of the data, such as :class:`~temperance.nets.TableInputs`.

    Source:
        Gorishniy, Kotelnikov and Babenko, *TabM: advancing tabular deep learning with parameter-efficient ensembling* (2025).

    Example:
        >>> net = TabM(4, 1, "regression", members=16, hidden=(8,))
        >>> net(torch.zeros(5, 4)).shape, net.eval()(torch.zeros(5, 4)).shape
        (torch.Size([5, 16, 1]), torch.Size([5, 1]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        task: str,
        members: int = 32,
        hidden: Sequence[int] = (256, 256),
        activation: str = "relu",
        norm: str | None = None,
        inputs: nn.Module | None = None,
    ) -> None:
        super().__init__(in_features, out_features, task, members, hidden, norm, inputs)
        if len(self.widths) < 2:
            raise ConfigError(expected("hidden", "TabM", "with at least one width", tuple(hidden), "Without a hidden layer there is nothing to share."))
        self.r = MemberScale(members, in_features)
        self.hidden = nn.Sequential(*(Dense(a, b, activation, norm) for a, b in pairwise(self.widths)))
        self.heads = MemberLinear(members, self.widths[-1], out_features)

    def body(self, x: Tensor) -> Tensor:
        return self.heads(self.hidden(self.r(x)))
