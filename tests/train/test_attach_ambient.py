"""A cocktail attached under settings that someone else made: another default type or device, no gradients, autocast, strict errors."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp

COCKTAIL = tp.Cocktail(
    tp.MixUp(0.2), tp.Dropout(0.3), tp.L1(1e-3), tp.L2SP(0.1), tp.SAM(0.05), tp.EMA(0.9), tp.GradClip(1.0), tp.InputNoise(0.1), tp.SpectralNorm(2.0)
)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8, dtype=torch.float32), nn.BatchNorm1d(8, dtype=torch.float32), nn.ReLU(), nn.Linear(8, 3, dtype=torch.float32))


def rows() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(16, 4, generator=g), torch.randint(0, 3, (16,), generator=g)


@contextlib.contextmanager
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def strict() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


@contextlib.contextmanager
def anomalies() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it is slow
        with torch.autograd.detect_anomaly():
            yield


AMBIENT: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "double": double,
    "meta": lambda: torch.device("meta"),
    "deterministic": deterministic,
    "strict": strict,
    "anomalies": anomalies,
}


def trained(around: Callable[[], AbstractContextManager[Any]], begun: Callable[[], AbstractContextManager[Any]]) -> list[Tensor]:
    model, (x, y) = network(), rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with begun():
        reg = COCKTAIL.attach(model, optimizer, nn.CrossEntropyLoss(), seed=2)
    for _ in range(3):
        with around():
            optimizer.zero_grad()
            reg.loss(x, y).backward()
            optimizer.step()
    reg.detach()
    return [*model.state_dict().values(), *(t for own in reg.state.values() for t in own.values())]


@pytest.mark.parametrize("name", AMBIENT)
def test_training_is_the_same_under_other_settings(name: str) -> None:
    plain = trained(contextlib.nullcontext, contextlib.nullcontext)
    for found in (trained(AMBIENT[name], contextlib.nullcontext), trained(contextlib.nullcontext, AMBIENT[name])):
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(plain, found, strict=True))


@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
def test_attached_where_no_gradients_are_kept(quiet: Callable[[], AbstractContextManager[Any]]) -> None:
    """State begun there serves training all the same."""
    plain = trained(contextlib.nullcontext, contextlib.nullcontext)
    assert all(torch.equal(a, b) for a, b in zip(plain, trained(contextlib.nullcontext, quiet), strict=True))


@pytest.mark.parametrize("quiet", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("regularizer", [tp.SAM(0.1), tp.FGSM(0.1), tp.VAT(0.5), tp.MeanTeacher(1.0), tp.Dropout(0.3), tp.L2SP(0.1)], ids=repr)
def test_the_loss_has_its_value_where_no_gradients_are_kept(quiet: Callable[[], AbstractContextManager[Any]], regularizer: Any) -> None:
    """In training mode the regularized one, in evaluation the plain one; training goes on after it."""
    (x, y), values = rows(), list[Tensor]()
    for around in (contextlib.nullcontext, quiet):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        reg = tp.Cocktail(regularizer).attach(model, optimizer, nn.CrossEntropyLoss(), seed=2)
        with around():
            values.append(reg.loss(x, y).detach())
            model.eval()
            assert torch.equal(reg.loss(x, y), F.cross_entropy(model(x), y))
            with reg.averaged():
                model(x)
        model.train()
        reg.loss(x, y).backward()
        optimizer.step()
        assert reg.steps == 1
    assert torch.equal(*values)


def test_a_step_inside_autocast_is_that_outside() -> None:
    """Products of matrices after the step keep the precision of the weights."""
    results: list[Tensor] = []
    for around in (contextlib.nullcontext(), torch.autocast("cpu", torch.bfloat16)):
        model, (x, y) = network(), rows()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        tp.Cocktail(tp.SpectralNorm(0.5)).attach(model, optimizer, nn.CrossEntropyLoss())
        F.cross_entropy(model(x), y).backward()
        with around:
            optimizer.step()
        results.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*results)


def test_the_generators_of_others_are_left_alone() -> None:
    torch_before, python_before = torch.get_rng_state(), random.getstate()
    numpy_before = str(np.random.get_state())  # noqa: NPY002 -- the generator that others use
    trained(contextlib.nullcontext, contextlib.nullcontext)
    assert torch.equal(torch.get_rng_state(), torch_before) and random.getstate() == python_before
    assert str(np.random.get_state()) == numpy_before  # noqa: NPY002 -- likewise
