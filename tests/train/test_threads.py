"""Fits in several threads at once: what they compute, and what they leave behind."""

from __future__ import annotations

import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

import temperance as tp
from temperance.train.threads import side_by_side

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X[:, 0] > 0).astype(int)


def total(kind: str) -> float:
    settings = {"trials": 2} if kind == "search" else {"cocktail": tp.Cocktail(tp.L2(1e-3), tp.Dropout(0.2))}
    return float(tp.TemperanceClassifier(epochs=1, random_state=0, **settings).fit(X, Y).predict_proba(X)[:, 1].sum())


def test_fits_in_threads_are_fits_alone_and_leave_the_process_as_it_was() -> None:
    def state() -> tuple[object, ...]:
        return sys.getswitchinterval(), torch.get_num_threads(), list(warnings.filters), torch.get_rng_state().tolist()

    before = state()
    for kind in ("given", "search"):
        alone = total(kind)
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(total, [kind] * 6)) == {alone}
    assert state() == before


def test_one_model_answers_many_threads() -> None:
    model = tp.TemperanceClassifier(tp.Cocktail(tp.Dropout(0.5)), epochs=1, random_state=0).fit(X, Y)
    parts = [X[10 * i : 11 * i + 10] for i in range(12)]
    expected = [model.predict_proba(part) for part in parts]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            assert all(np.array_equal(a, b) for a, b in zip(pool.map(model.predict_proba, parts), expected, strict=True))


def test_work_runs_on_one_core_and_threads_that_start_later_keep_all() -> None:
    seen: list[int] = []
    later: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        side_by_side([1, 2], lambda _: seen.append(torch.get_num_threads()), threading.Event(), 2)
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join(10)
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1] and later == [2]
