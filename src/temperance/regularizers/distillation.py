"""Distillation: learn from what another network answers."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from temperance.core.batch import Batch, leaves_of, map_float, map_leaves, rows_of
from temperance.core.criterion import Criterion
from temperance.core.device import out_of_memory
from temperance.core.errors import ConfigError, expected
from temperance.core.regularizer import Context, Objective, Params, Regularizer, Result, register
from temperance.core.strength import Strength, strength

FINGERPRINT = re.compile(r"\w+ [0-9a-f]{12}")
BLOCK = 1024  # rows that the teacher answers at once


@register
class Distillation(Regularizer):
    """Asks the network to answer as a teacher does, softened by a temperature: knowledge distillation.

    What: the data loss gives a share of its weight to the divergence from the answers of another network, which is not trained. These say more of a row
    than its label: which other classes it resembles.

    Formula: (1 - alpha) · data loss + alpha · T² · mean over all rows of KL(softmax(z'/T), softmax(z/T)), with z the scores of the network, z' those of the
    teacher and T the temperature; T² keeps the gradient as large as that of the data loss. With several labels the sum of the divergences of
    all of them; for values the squared difference, in which T has no part. Several heads are weighted as in the loss.

    When: a small network for what a large one, or an average of many, has learned; rows without a target, of which the teacher says what it thinks. alpha about
    0.5 to 0.9, T 2 to 5. For the average of the network's own past take MeanTeacher.

    Composes: with everything, inside the others: SAM, FGSM and PGD learn from the teacher at each of their points. The teacher sees each row as the network
    does, augmented and mixed; where nothing changes inputs and all rows are in memory, every population asks it once: a search does so for each
    of its populations. Weights of rows count in the data loss alone, which has to be a mean: beside a sum (``reduction="sum"``) alpha is no share. A fit with
    a teacher cannot be replayed or explained from its folder, as no file holds the teacher.

    Cost: one more forward and backward pass, and one forward pass of the teacher where it was not asked once.

    Reference: Hinton, Vinyals & Dean (2015), Distilling the knowledge in a neural network.

    Args:
        alpha: share of the teacher.
        temperature: T.
        teacher: an ``nn.Module`` with the inputs and outputs of the network, such as ``tp.nets.Average`` of several, or a model that ``tp.load`` has read.
            It is copied, and stays in evaluation mode. It gets the rows as the network gets them, and a loaded model knows those of its own encoder: train
            on ``tp.load(DIR).dataset(rows)``. A cocktail file holds a fingerprint of it alone.

    Example:
        >>> import temperance as tp
        >>> teacher = torch.nn.Linear(3, 2)
        >>> tp.Distillation(0.7, temperature=3.0, teacher=teacher).alpha
        0.7
    """

    spec: ClassVar[str] = "outside the catalogue"
    reference: ClassVar[str] = "Hinton, Vinyals & Dean 2015"
    innermost: ClassVar[bool] = True
    keeps_inputs: ClassVar[bool] = True

    alpha: Strength = strength(0.5, off=0.0, low=0.1, high=0.9, valid="[0, 1]", meaning="share of the teacher")
    temperature: Strength = strength(2.0, off=1.0, low=1.0, high=10.0, log=True, valid="(0, inf)", meaning="what scores are divided by")
    teacher: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "teacher", _teacher(self.teacher))

    def is_off(self) -> bool:
        return self.peak("alpha") == 0.0

    def drives(self, site: str) -> tuple[str, ...]:
        return ("alpha",)

    def of_rows(self, x: Any) -> Mapping[str, Any]:
        if not isinstance(self.teacher, Teacher) or self.is_off():
            return {}
        parts = [self.teacher(map_leaves(lambda leaf, a=a: leaf[a : a + BLOCK], x)) for a in range(0, rows_of(x), BLOCK)]
        return {self._told: map_leaves(lambda *blocks: torch.cat(blocks), *parts)}

    @property
    def _told(self) -> str:
        return f"answers of {self.teacher!r}"

    def around(self, objective: Objective, params: Params, batch: Batch, ctx: Context) -> Result:
        if not isinstance(self.teacher, Teacher):
            mend = "Give a network, or tp.load(DIR); one that was read from a file has to be given again."
            raise ConfigError(expected("teacher", "Distillation", "to be an nn.Module or a loaded model", self.teacher, mend))
        _refuse_sums(ctx.criterion)
        total, report, buffers, taps = objective(params, batch)
        told = ctx.constants.get(self._told)
        answers = self.teacher(batch.x) if told is None else map_leaves(lambda leaf: leaf[batch.row_id], told)
        out = ctx.forward(params, batch.x, "train")[0]
        answers = map_leaves(lambda leaf, own: _beside(leaf, own).to(own.dtype), answers, out)
        soft, own = (map_leaves(lambda z: z / self.temperature.to(z.dtype), tree) for tree in (answers, out))
        apart = self.temperature.square() * ctx.criterion.divergence(soft, own)
        extra = torch.where(self.alpha > 0, self.alpha * (apart - report["data"]), torch.zeros_like(total))
        return total + extra, {**report, self.label: extra}, buffers, taps

    def to_dict(self) -> dict[str, Any]:
        given = self.teacher
        return {**super().to_dict(), "teacher": given.name if isinstance(given, Teacher) else given}


class Teacher:
    """A network that is not trained: a copy in evaluation mode, told from others by its weights.

    Example:
        >>> one, other = nn.Linear(1, 1), nn.Linear(1, 1)
        >>> repr(Teacher(one)) == repr(Teacher(copy.deepcopy(one))), repr(Teacher(one)) == repr(Teacher(other))
        (True, False)
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        digest = hashlib.blake2b(repr(network).encode(), digest_size=6)
        for name, t in self.network.state_dict().items():
            digest.update(name.encode() + t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        self.name = f"{type(network).__name__} {digest.hexdigest()}"
        self._places: dict[torch.device, nn.Module] = {}

    def __call__(self, x: Any) -> Any:
        """Its answers to encoded rows, in its own type of numbers."""
        device = leaves_of(x)[0].device
        if device not in self._places:
            self._places[device] = copy.deepcopy(self.network).to(device)
        network = self._places[device]
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
        with torch.no_grad():
            rows = map_float(lambda leaf: leaf.detach() if dtype is None else leaf.detach().to(dtype), x)
            try:
                return map_leaves(Tensor.detach, network(rows))
            except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:  # what networks raise for other rows
                if out_of_memory(error):
                    raise
                said = (str(error).splitlines() or [""])[0][:200]
                mend = "Give one with the inputs of the network; a loaded model takes the rows of its own encoder: train on tp.load(DIR).dataset(rows)."
                raise ConfigError(f"Expected a `teacher` of Distillation that takes the rows, got {type(error).__name__}: {said}. {mend}") from error

    def __repr__(self) -> str:
        return repr(self.name)

    def __eq__(self, other: object) -> bool:
        """A teacher is its weights: a copy of it is the same, and what a file says of it."""
        return self.name == (other.name if isinstance(other, Teacher) else other)

    def __hash__(self) -> int:
        return hash(self.name)


def _teacher(given: Any) -> Any:
    """A teacher of a network or of what holds one as its ``model``; a name out of a file stays as it is, and so does none."""
    if given is None or isinstance(given, Teacher) or (isinstance(given, str) and FINGERPRINT.fullmatch(given)):
        return given
    network = given if isinstance(given, nn.Module) else getattr(given, "model", None)
    if not isinstance(network, nn.Module):
        mend = "Read the folder of a fit by tp.load(DIR)." if isinstance(given, str) else "Give a trained network, or tp.load(DIR)."
        raise ConfigError(expected("teacher", "Distillation", "to be an nn.Module or a loaded model", given, mend))
    return Teacher(network)


def _refuse_sums(criterion: Criterion) -> None:
    """Beside a sum over rows, a mean has no share."""
    inner = getattr(criterion, "inner", criterion)
    for one in (head[1] for head in getattr(inner, "heads", [("", inner)])):
        if getattr(getattr(one, "module", None), "reduction", "mean") == "sum":
            mend = "Use 'mean': alpha is a share of a mean over rows."
            raise ConfigError(expected("reduction", one.name, "to be 'mean' beside Distillation", "sum", mend))


def _beside(answers: Tensor, out: Tensor) -> Tensor:
    """The answers once for each of the networks that a model holds in one, where it gives an output of each."""
    if answers.dim() == out.dim() - 1 and answers.shape[0] == out.shape[0]:
        answers = answers.unsqueeze(1).expand_as(out)
    if answers.shape != out.shape:
        got, wanted = tuple(answers.shape), tuple(out.shape)
        raise ConfigError(f"Expected a `teacher` of Distillation with the outputs of the network, {wanted}, got {got}. Give one for the same targets.")
    return answers
