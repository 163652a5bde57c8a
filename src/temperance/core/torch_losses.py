"""The losses of ``torch.nn`` with all their options: by row, on soft targets, and between two outputs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.core.batch import Batch
from temperance.core.criterion import Criterion, Opaque, as_criterion
from temperance.core.errors import ConfigError, expected


@dataclass(frozen=True)
class Kind:
    """What is known about one class of losses.

    Attributes:
        task: which task it serves; empty where that is open, or where its scores are no probabilities.
        soft: ``"classes"``: integer classes, and probabilities of them in the same way; ``"values"``: floats, of which an average is a target as
            well; empty: no target between two targets.
        function: the same loss in ``torch.nn.functional``.
    """

    task: str
    soft: str
    function: Callable[..., Any]


KINDS: dict[type[nn.Module], Kind] = {
    nn.CrossEntropyLoss: Kind("classification", "classes", F.cross_entropy),
    nn.NLLLoss: Kind("classification", "classes", F.nll_loss),
    nn.KLDivLoss: Kind("classification", "values", F.kl_div),
    nn.BCEWithLogitsLoss: Kind("multilabel", "values", F.binary_cross_entropy_with_logits),
    nn.BCELoss: Kind("multilabel", "values", F.binary_cross_entropy),
    nn.MultiLabelSoftMarginLoss: Kind("multilabel", "values", F.multilabel_soft_margin_loss),
    nn.MSELoss: Kind("regression", "values", F.mse_loss),
    nn.L1Loss: Kind("regression", "values", F.l1_loss),
    nn.SmoothL1Loss: Kind("regression", "values", F.smooth_l1_loss),
    nn.HuberLoss: Kind("regression", "values", F.huber_loss),
    nn.PoissonNLLLoss: Kind("regression", "values", F.poisson_nll_loss),
    nn.MultiMarginLoss: Kind("", "", F.multi_margin_loss),
    nn.MultiLabelMarginLoss: Kind("", "", F.multilabel_margin_loss),
    nn.SoftMarginLoss: Kind("", "", F.soft_margin_loss),
    nn.HingeEmbeddingLoss: Kind("", "", F.hinge_embedding_loss),
}
DISTANCES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)


def torch_module(given: Any) -> nn.Module | None:
    """The loss as a module of ``torch.nn``: itself, or of a function such as ``F.cross_entropy`` or a ``partial`` of it with named options.

    None for everything else, subclasses too, whose ``forward`` may be another.

    Example:
        >>> torch_module(functools.partial(F.cross_entropy, label_smoothing=0.1)).label_smoothing
        0.1
        >>> torch_module(lambda out, y: F.cross_entropy(out, y)) is None
        True
    """
    if type(given) in KINDS:
        return cast(nn.Module, given)
    options: dict[str, Any] = {}
    if isinstance(given, functools.partial) and not given.args:
        options, given = given.keywords, given.func  # pyright: ignore[reportUnknownMemberType,reportUnknownVariableType] -- of any signature
    for kind, known in KINDS.items():
        if given is known.function:
            try:
                return kind(**options)
            except TypeError:  # an option that belongs to the call, not to the loss
                return None
    return None


@dataclass(frozen=True, eq=False)
class TorchLoss(Criterion):
    """A loss of ``torch.nn`` on soft targets, with its options; ``given`` is what is called, ``module`` holds the options.

    With row weights v of mean one and marks of labeled rows m it is Σ v m L / Σ m M: L is what a row adds to the sum of the loss, M what it adds to what
    the mean divides by. For classes with weights w and soft targets y that is L = -Σ_k w_k y_k log p_k and M = Σ_k w_k y_k, summed over the positions of
    a row, so that one-hot targets give what integers give, and a position without a target (y = 0) counts for nothing. With ``reduction="sum"`` it is
    Σ v m L.

    Example:
        >>> loss = TorchLoss.of(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0])))
        >>> [round(part.item(), 4) for part in loss.terms(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))]
        [2.0794, 3.0]
    """

    by_member: ClassVar[bool] = True

    given: Callable[..., Any]
    module: Any

    @classmethod
    def of(cls, given: Any) -> Any:
        """The loss that is given, if it is one of torch's; else None."""
        module = torch_module(given)
        return None if module is None else cls(given, module)

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.module)]

    @property
    def name(self) -> str:
        return type(self.module).__name__

    @property
    def task(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] -- a class attribute elsewhere, here that of the loss inside
        return self.kind.task

    def by_class(self, y: Any) -> bool:
        """Whether targets are probabilities of classes that stand for integers."""
        return self.kind.soft == "classes" and y.is_floating_point()

    def terms(self, out: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What every row adds to the sum of the loss, and to what its mean divides by: both ``(rows,)``."""
        if self.by_class(y):
            return self._class_terms(out, y)
        each = self.apart(out, y)
        losses = each.reshape(len(each), -1).sum(1)
        if self.kind.soft == "classes" and not y.is_floating_point():
            return losses, self._class_mass(y, each.dtype)
        count = 1 if self.module.reduction == "batchmean" else each[0].numel() if len(each) else 1
        return losses, torch.full_like(losses, count)

    def apart(self, out: Any, y: Any) -> Tensor:
        """The losses before they are reduced."""
        loss = copy.copy(self.module)
        loss.reduction = "none"
        return loss(out, y)

    def _class_mass(self, y: Tensor, dtype: torch.dtype) -> Tensor:
        known = y != self.module.ignore_index
        mass = known.to(dtype)
        if self.module.weight is not None:
            mass = mass * self.module.weight.to(dtype)[torch.where(known, y, torch.zeros_like(y)).long()]
        return mass.reshape(len(y), -1).sum(1)

    def _class_terms(self, out: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if out.shape != y.shape:
            raise ConfigError(f"Expected soft targets of the shape of the scores, {tuple(out.shape)} with classes at 1, got {tuple(y.shape)}.")
        log_p = out if isinstance(self.module, nn.NLLLoss) else F.log_softmax(out, 1)
        weight, smoothing = self.module.weight, getattr(self.module, "label_smoothing", 0.0)
        shaped = 1.0 if weight is None else weight.to(y.dtype).reshape(-1, *[1] * (y.dim() - 2))
        target = weighed = y * shaped
        if smoothing:
            target = (1.0 - smoothing) * weighed + smoothing / y.shape[1] * shaped * y.sum(1, keepdim=True)
        losses = -torch.where(target != 0, target * log_p, torch.zeros_like(log_p)).sum(1)  # a class of probability zero may have no target
        return losses.reshape(len(y), -1).sum(1), weighed.sum(1).reshape(len(y), -1).sum(1)

    def per_row(self, out: Tensor, y: Tensor) -> Tensor:
        return self.terms(out, y)[0]

    def reduced(self, out: Any, batch: Batch, any_scale: bool) -> Tensor:
        """The loss with weights and marks of rows; with ``any_scale`` it divides by the weights too, so that their mean does not matter."""
        losses, mass = self.terms(out, batch.y)
        weight, nothing = batch.weight.to(losses.dtype), torch.zeros_like(losses)
        total = (weight * torch.where(batch.labeled, losses, nothing)).sum()
        if self.module.reduction == "sum":
            return total
        mass = torch.where(batch.labeled, mass.to(losses.dtype), nothing)
        whole = (weight * mass if any_scale else mass).sum()
        some = whole > 0
        return torch.where(some, total / torch.where(some, whole, torch.ones_like(whole)), torch.zeros_like(total))

    def __call__(self, out: Any, batch: Batch) -> Tensor:
        return self.reduced(out, batch, any_scale=False)

    def divergence(self, reference: Tensor, out: Tensor) -> Tensor:
        loss = self.module
        if isinstance(loss, DISTANCES):
            return self.apart(out, reference).mean()
        if isinstance(loss, nn.CrossEntropyLoss):
            log_p, log_q = F.log_softmax(reference, 1), F.log_softmax(out, 1)
        elif isinstance(loss, (nn.NLLLoss, nn.KLDivLoss)):
            log_p, log_q = reference, out
        elif isinstance(loss, (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)):
            p = F.logsigmoid(reference).exp()
            yes, no = F.logsigmoid(reference) - F.logsigmoid(out), F.logsigmoid(-reference) - F.logsigmoid(-out)
            return (p * yes + (1 - p) * no).mean()
        else:
            raise ConfigError(
                f"{self.name} cannot compare two outputs. Give one that can, such as nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss()."
            )
        return (log_p.exp() * (log_p - log_q)).sum(1).mean()

    def predict(self, out: Tensor) -> Tensor:
        """Probabilities, with classes at the last dimension, or values."""
        loss = self.module
        if isinstance(loss, (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)):
            return F.logsigmoid(out).exp()
        if isinstance(loss, nn.CrossEntropyLoss):
            return F.softmax(out, -1)
        if isinstance(loss, (nn.NLLLoss, nn.KLDivLoss)):
            return out.exp()
        return out.exp() if isinstance(loss, nn.PoissonNLLLoss) and loss.log_input else out


def trainer_criterion(given: Any) -> Criterion:
    """A loss for the library's own trainer, whose targets are soft: a Criterion, a loss of torch with its options, or anyone's own function.

    Raises:
        ConfigError: an option or a loss that has no meaning there.
    """
    module = torch_module(given)
    plain = as_criterion(given if module is None else module)
    if module is None or not isinstance(plain, Opaque):
        return plain
    loss = TorchLoss(given, module)
    if not loss.kind.soft:
        raise ConfigError(
            f"{loss.name} has no form for soft targets, and classes are trained on as probabilities here. "
            "Use nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss() or nn.MSELoss(), or attach the cocktail to a loop of your own."
        )
    refuse_apart(loss)
    if getattr(module, "ignore_index", -100) >= 0:
        mend = "Targets are not integers here. Leave it out, and mark these rows in Dataset(labeled=...)."
        raise ConfigError(expected("ignore_index", loss.name, "to be negative", module.ignore_index, mend))
    if getattr(module, "log_target", False):
        raise ConfigError(expected("log_target", loss.name, "to be False", True, "Probabilities can be mixed, their logarithms cannot."))
    return loss


def refuse_apart(loss: TorchLoss) -> None:
    """A loss has to give one number.

    Raises:
        ConfigError: ``reduction="none"``.
    """
    if loss.module.reduction == "none":
        mend = "Use 'mean'; weights of rows are given as `weight`, to reg.loss or with the data."
        raise ConfigError(expected("reduction", loss.name, "to be 'mean' or 'sum'", "none", mend))
