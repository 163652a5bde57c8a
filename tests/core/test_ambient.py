"""What surrounds a call changes neither what is computed nor is changed by it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.ambient import Together, plain, settled, trainable, working_dtype

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] > 0).astype(int)


@contextmanager
def default_dtype(dtype: torch.dtype = torch.float64) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SURROUNDINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "default float64": default_dtype,
    "default bfloat16": lambda: default_dtype(torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "numpy raises": lambda: np.errstate(all="raise"),
    "device meta": lambda: torch.device("meta"),
    "warnings are errors": strict_warnings,
}


def given() -> np.ndarray:
    cocktail = tp.Cocktail(tp.L2(1e-3), tp.Dropout(0.2), tp.EMA(0.9), tp.MixUp(0.2), tp.LabelSmoothing(0.1))
    return tp.TemperanceClassifier(cocktail, epochs=3, random_state=0).fit(X, Y).predict_proba(X)


def values() -> np.ndarray:
    return tp.TemperanceRegressor(tp.Cocktail(tp.MixUp(0.2), tp.InputNoise(0.1)), epochs=3, random_state=0).fit(X, X[:, 1]).predict(X)


def searched() -> np.ndarray:
    return tp.TemperanceClassifier(trials=2, epochs=2, random_state=0).fit(X, Y).predict_proba(X)


def own_network() -> np.ndarray:
    def build(data: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))

    return tp.TemperanceClassifier(tp.Cocktail(tp.L2(1e-3)), model=build, epochs=3, random_state=0).fit(X, Y).predict_proba(X)


JOBS = {"given": given, "values": values, "searched": searched, "own network": own_network}


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, np.ndarray]:
    return {name: job() for name, job in JOBS.items()}


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("job", JOBS)
def test_surroundings_do_not_change_what_is_learned(job: str, surrounding: str, undisturbed: dict[str, np.ndarray]) -> None:
    with SURROUNDINGS[surrounding]():
        found = JOBS[job]()
    # A default dtype may round one number before the arithmetic instead of after it; nothing else may differ at all.
    tolerance = 1e-5 if surrounding.startswith("default") else 0.0
    np.testing.assert_allclose(found, undisturbed[job], rtol=0, atol=tolerance)


@pytest.mark.parametrize("surrounding", ["no_grad", "inference_mode", "numpy raises", "default float64"])
def test_a_network_made_there_is_diagnosed_and_attacked(surrounding: str) -> None:
    with SURROUNDINGS[surrounding]():
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        rows = (torch.tensor(X, dtype=torch.get_default_dtype()), torch.tensor(Y))
        assert "units" in {finding.check for finding in tp.diagnose(net, rows, lr=0.1).findings}
        assert tp.robustness(net, rows, eps=0.1, steps=2).to_dict()


def test_a_network_in_double_precision_trains_in_it_under_any_default() -> None:
    for around in (nullcontext, default_dtype):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)).double()
        with around():
            done = tp.fit(net, tp.Cocktail(tp.L2(1e-3), tp.Dropout(0.2)), (X, Y), epochs=2)
        assert {p.dtype for p in done.model.parameters()} == {torch.float64}


def test_settings_are_back_after_the_block_and_never_left_it() -> None:
    def state() -> tuple[Any, ...]:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), tuple(np.geterr().values())

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), np.errstate(all="raise"):
        before = state()
        with plain():
            assert state()[:3] == (True, False, False) and state()[3] == ("warn", "warn", "ignore", "warn")
        assert state() == before
    with default_dtype():
        with plain():
            assert working_dtype() == torch.float32
            assert torch.get_default_dtype() == torch.float64, "the default of the process is another thread's too"
        assert torch.zeros(1).dtype == working_dtype() == torch.float64


def test_new_tensors_get_the_dtype_where_none_is_said() -> None:
    with default_dtype(), plain():
        single = [torch.zeros(2), torch.tensor(0.5), torch.arange(3) * 0.5, torch.full((2,), 0.1), nn.Linear(2, 2).weight, torch.rand(2)]
        assert {t.dtype for t in single} == {torch.float32}
        double = [torch.zeros(2).double(), torch.zeros(2, dtype=torch.float64), torch.from_numpy(np.ones(2)), torch.tensor(np.float64(1.0))]
        double += [double[0] + 1.0, torch.zeros_like(double[0]), torch.ones(2).to(torch.float64)]
        assert {t.dtype for t in double} == {torch.float64}


def test_tensors_of_inference_mode_become_usable() -> None:
    with torch.inference_mode():
        net, x = nn.Linear(2, 1), torch.ones(3, 2)
    usable, rows = trainable(net), settled(x, torch.float32)
    usable(rows).sum().backward()
    assert usable is not net and torch.equal(next(usable.parameters()), next(net.parameters()))
    other = nn.Linear(2, 1)
    assert trainable(other) is other


def test_what_belongs_to_the_process_is_undone_by_the_last_one_to_leave() -> None:
    log: list[str] = []

    @contextmanager
    def change() -> Iterator[None]:
        log.append("made")
        yield
        log.append("undone")

    both, inside, leave = Together(change), threading.Event(), threading.Event()

    def other() -> None:
        with both:
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with both:
        thread.start()
        assert inside.wait(10)
    assert log == ["made"]
    leave.set()
    thread.join(10)
    assert log == ["made", "undone"]
