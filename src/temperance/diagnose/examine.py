"""``tp.diagnose``: every check on one network."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from temperance.core.ambient import plainly
from temperance.core.cocktail import Cocktail
from temperance.core.device import device_of
from temperance.core.draws import Draws
from temperance.core.errors import ConfigError, expected
from temperance.core.passes import evaluating
from temperance.diagnose.calibration import calibration
from temperance.diagnose.conditioning import conditioning
from temperance.diagnose.curvature import curvature
from temperance.diagnose.finding import Diagnosis, Finding, Skip
from temperance.diagnose.fragility import fragility
from temperance.diagnose.gap import gap
from temperance.diagnose.given import matched, subject_of
from temperance.diagnose.gradients import gradients
from temperance.diagnose.labels import labels
from temperance.diagnose.landscape import landscape
from temperance.diagnose.noise_scale import noise_scale
from temperance.diagnose.numbers import numbers
from temperance.diagnose.oscillation import oscillation
from temperance.diagnose.pathways import pathways
from temperance.diagnose.sparsity import sparsity
from temperance.diagnose.step import step
from temperance.diagnose.strengths import strengths
from temperance.diagnose.subject import Subject
from temperance.diagnose.units import units

ROWS = 1024

CHECKS: dict[str, Callable[[Subject], list[Finding]]] = {
    "numbers": numbers,
    "step": step,
    "oscillation": oscillation,
    "curvature": curvature,
    "landscape": landscape,
    "conditioning": conditioning,
    "gradients": gradients,
    "noise_scale": noise_scale,
    "units": units,
    "gap": gap,
    "labels": labels,
    "calibration": calibration,
    "fragility": fragility,
    "pathways": pathways,
    "sparsity": sparsity,
    "strengths": strengths,
}


@plainly
def diagnose(
    model: nn.Module,
    data: Any,
    *,
    validation: Any = None,
    criterion: Any = None,
    lr: Any = None,
    checks: str | Sequence[str] | None = None,
    rows: int = ROWS,
    seed: int = 0,
    device: str | torch.device | None = None,
    cocktail: Cocktail | None = None,
) -> Diagnosis:
    """Look for what is wrong with a trained network, whoever trained it, and for what would help.

    The network is examined in evaluation mode on clean rows, and is not changed: neither its parameters, buffers, gradients and mode nor the global
    random generators. Memory holds a few hundred rows at a time, and the vectors that the Hessian's eigenvalues need.

    Args:
        model: any ``nn.Module`` that takes the rows of ``data`` and returns scores ``(rows, outputs)``.
        data: the rows it was trained on, a Dataset or a pair (X, y).
        validation: rows it has not seen, likewise.
        criterion: the loss, a mean over rows: one of temperance or torch, or any ``(out, y) -> scalar``. The task's default if not given.
        lr: the learning rate to judge, or the optimizer (of torch or temperance) that has it.
        checks: names of some checks (keys of ``temperance.diagnose.CHECKS``) instead of all.
        rows: rows of each kind that are looked at, drawn by ``seed`` where there are more.
        seed: of every draw.
        device: where a copy of the network is examined: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one; by default
            the network itself, where it is.
        cocktail: with which the network was trained: what a little more or less of each strength would do to the validation loss.

    Returns:
        a :class:`~temperance.diagnose.Diagnosis`: ``findings``, ``causes`` (what is bad, the worst first), ``skipped``, ``to_dict()``, and ``str()``.

    Raises:
        ConfigError: arguments, or a network that does not fit the data.
        DataError: rows that cannot be used.

    Example:
        >>> import torch
        >>> import temperance as tp
        >>> net = torch.nn.Linear(1, 1, bias=False)
        >>> data = (torch.tensor([[1.0], [3.0]]), torch.tensor([0.5, 2.5]))
        >>> found = tp.diagnose(net, data, lr=0.3)
        >>> sorted(found.causes)
        ['oscillation', 'step_size']
        >>> round(found["step"].value["critical_lr"], 3)  # the loss bends by 10, and 2 / 10 is where steps start to grow
        0.2
    """
    wanted, place = _wanted(checks), device_of(device, "diagnose")
    if place is not None and isinstance(model, nn.Module):
        model = copy.deepcopy(model).to(place)
    subject, notes = subject_of(model, data, validation=validation, criterion=criterion, lr=lr, rows=rows, seed=seed, cocktail=cocktail)
    findings: list[Finding] = []
    skipped: list[tuple[str, str]] = []
    with evaluating(subject.model, True), _own_generators(seed):
        subject = matched(subject)
        broken = numbers(subject)
        sick = broken[0].verdict == "bad"
        for name in wanted:
            if sick and name not in ("numbers", "sparsity", "conditioning"):
                skipped.append((name, "the network holds or returns numbers that are not finite"))
                continue
            try:
                findings += broken if name == "numbers" else CHECKS[name](subject)
            except Skip as reason:
                skipped.append((name, str(reason)))
    held = 0 if subject.validation is None else len(subject.validation)
    return Diagnosis(tuple(findings), tuple(skipped), tuple(notes), (len(subject.train), held))


def _wanted(checks: str | Sequence[str] | None) -> list[str]:
    names = list(CHECKS) if checks is None else [checks] if isinstance(checks, str) else list(checks)
    for name in names:
        if name not in CHECKS:
            near = difflib.get_close_matches(str(name), list(CHECKS), n=1)
            raise ConfigError(expected("checks", "diagnose", f"among {', '.join(CHECKS)}", name, f"Did you mean {near[0]!r}?" if near else ""))
    return names


@contextmanager
def _own_generators(seed: int) -> Iterator[None]:
    """A network that draws in evaluation mode too draws from a seeded generator."""
    on_gpu = torch.cuda.is_initialized()  # where cuDNN refuses gradients of recurrent layers in evaluation mode
    with Draws(seed), torch.backends.cudnn.flags(enabled=False) if on_gpu else nullcontext():
        yield
