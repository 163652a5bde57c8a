"""Members that train in other processes are the same to the last bit, whoever trains what, and whoever dies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.search.pretended import DATA, Pretended, small_engine
from tests.search.small import config, hold_out, small_plan, two_folds
from tests.search.test_resume import same

from temperance.core.errors import ConfigError
from temperance.search import engine as engine_module, rungs, search as search_module
from temperance.search.result import Search
from temperance.search.search import search_plans


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    """A search in waves of four and five trials, by the crew that is given."""
    torch.set_num_threads(1)
    monkeypatch.setattr(rungs, "FIRST", 4)
    monkeypatch.setattr(engine_module, "MOST_WAVE", 5)

    def search(crew: Pretended | None, **settings: Any) -> Search:
        @contextmanager
        def given(*_: Any) -> Any:
            yield crew

        monkeypatch.setattr(search_module, "crew_for", given)
        settings = {"split": hold_out(), "trials": 9, "ensemble": 4, "refits": 1, "strategy": "rungs", **settings}
        return search_plans([small_plan("a", earliest=1), small_plan("b", hidden=5, earliest=1)], DATA, **settings)

    return search


SPLITS = {"hold-out": hold_out(), "folds": two_folds()}
made: dict[str, Search] = {}


@pytest.fixture
def local(find: Callable[..., Search]) -> Callable[[str], Search]:
    """What this process finds, trained once for all tests."""

    def searched(split: str) -> Search:
        if split not in made:
            made[split] = find(None, split=SPLITS[split])
        return made[split]

    return searched


@pytest.mark.parametrize(("split", "workers"), [("hold-out", 1), ("hold-out", 3), ("folds", 3)])
def test_the_same_search_whatever_the_number_of_workers(split: str, workers: int, find: Callable[..., Search], local: Callable[[str], Search]) -> None:
    crew = Pretended(workers)
    assert same(local(split), find(crew, split=SPLITS[split]))
    assert crew.put == 1, "rows travel once"


def test_workers_that_die_change_nothing(find: Callable[..., Search], local: Callable[[str], Search]) -> None:
    """Others train the same networks from their start, as often as a share has got on in between."""
    dead: list[int] = []

    def dies(number: int, share: int) -> bool:
        dead.extend([share] if number in (1, 6, 15) else [])
        return number in (1, 6, 15)

    assert same(local("hold-out"), find(Pretended(3, dies=dies)))
    assert len(dead) == 3 and len(set(dead)) == 2, "one share twice"


def test_trials_whose_workers_die_twice_end_with_the_cause(find: Callable[..., Search], local: Callable[[str], Search]) -> None:
    """What they had reported stays, and the search goes on without them."""
    deaths: list[int] = []

    def dies(number: int, share: int) -> bool:
        deaths.extend([number] if share == 1 and number > 8 and len(deaths) < 2 else [])
        return number in deaths

    found = find(Pretended(2, dies=dies))
    lost = [t for t in found.trials if t.status.startswith("lost")]
    assert lost and {t.status for t in lost} == {"lost with its worker: out of memory"}
    assert all(t.outcomes[0].state is not None and t.score == t.score for t in lost), "reported before"
    assert len(found.trials) == 9 and {t.status for t in found.trials if t not in lost} <= {"finished", "dropped at epoch 1"}
    assert "networks were lost with their worker: out of memory" in found.notes
    untouched = local("hold-out")
    same_place = [t.config.number for t in found.trials[:4] if t not in lost]
    assert [t.score for t in found.trials if t.config.number in same_place] == [untouched.trials[n].score for n in same_place]


def test_without_workers_the_search_ends_with_what_to_do(find: Callable[..., Search]) -> None:
    with pytest.raises(ConfigError, match="nobody is there"):
        find(Pretended(1, dies=lambda number, share: number == 3, last=True))


def test_an_interrupt_ships_what_the_workers_have_reported(find: Callable[..., Search]) -> None:
    crew = Pretended(2, interrupt=8)
    found = find(crew, retrain=None)
    assert found.ended == "interrupted" and found.score["value"] == found.score["value"] and not crew.done


def test_with_a_budget_a_wave_grows_with_the_workers() -> None:
    engine = small_engine(Pretended(3), seconds=60.0)
    assert engine.most() == 3 * engine_module.WAVE and small_engine(Pretended(3), None).most() == engine_module.WAVE
    engine.costs.measure(engine.plans[0], lambda members: engine.race_on([config(engine.plans[0], i) for i in range(members)], engine.folds))
    assert engine.seconds(engine.plans[0], 30, 2.0) == engine.costs.seconds(engine.plans[0], 10, 2.0)
    assert engine.again(engine.plans[0], 30, 2.0) == engine.plans[0].alone * engine.costs.seconds(engine.plans[0], 30, 2.0), "what ships trains here"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"engine": "dask"}, "Expected `engine` of search to be one of local, ray, got 'dask'"),
        ({"address": "auto"}, r"Expected `address` of search to be None without engine='ray', got 'auto'\. Add engine='ray'"),
    ],
)
def test_what_is_no_engine_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        search_plans([small_plan()], DATA, trials=1, **settings)


def test_ray_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"Expected Ray to be installed for the engine 'ray', found none\. Install it with `pip install 'temperance\[ray\]'`"):
        search_plans([small_plan()], DATA, trials=1, engine="ray")
