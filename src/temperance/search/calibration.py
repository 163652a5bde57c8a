"""The first seconds of a search with a budget: what steps cost, which are compiled, and how long runs may be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from temperance.search.few_runs import FewRuns, choose
from temperance.search.programs import WORTH
from temperance.search.race import Race
from temperance.search.resume import HEAD_START_PHASE
from temperance.search.space import Config, StaticPlan, seed_of
from temperance.train.compiled import warm_up

if TYPE_CHECKING:
    from temperance.search.engine import Engine

HEAD_START = 1.0  # seconds
COMPILING, LOADING, COMPILING_SHARE = 7.0, 4.0, 0.25  # seconds for each plan, once for the compiler, and the share of the time that repays all plans at once
SLOW = 2.0  # times these seconds: after that the next plan trains as it is
MEASURING = 0.2  # share of the time left that measuring a plan may take, but for a step and two checks
FEWEST = 3.0  # epochs of a run that was shortened
LONGEST = 0.4  # share of the time that a full run of two may take: with a third of it, log-loss after 20 seconds was up to a quarter higher


def calibrate(engine: Engine, shorten: bool = True) -> None:
    """Measure a step of every plan, and shorten runs that are long for the budget, unless an earlier process did."""
    if engine.programs.missing and not engine.programs.card and engine.left() >= WORTH:
        engine.notes.append(f"{engine.programs.missing}, so that training steps run as they are; compiled ones would train two to four times as many networks")
    engine.few = choose(engine, shorten)
    if engine.few is not None:
        _tell(engine, engine.few)
        return
    compiling = len(engine.tried) == 1 or len(engine.tried) * COMPILING <= COMPILING_SHARE * engine.left()
    for plan in engine.tried:
        began = time.monotonic()
        compiling = compiling and compiled(engine, plan)
        measure(engine, plan)
        compiling = compiling and time.monotonic() - began <= SLOW * COMPILING + LOADING  # else the processor is busy
    left = engine.clock.left(engine.settings.spare)
    room = LONGEST * max(left - 2.0, left / 2)
    for plan in engine.tried if shorten else []:
        full = engine.epochs[plan.name]
        whole = engine.seconds(plan, 2 * len(engine.folds), full)
        if whole > room:
            engine.epochs[plan.name] = min(full, max(FEWEST, full * room / whole))


def _tell(engine: Engine, few: FewRuns) -> None:
    """Say what few full runs mean for the search."""
    trials = f"{few.trials} configuration{'s' if few.trials > 1 else ''}"
    engine.notes.append(
        f"a full run of {few.plan.network} takes a large part of the budget, so that the plan was to try {trials} "
        f"for {engine.epochs[few.plan.name]:.0f} epochs and to keep the rest of the time for what ships; a longer budget tries more"
    )


def measure(engine: Engine, plan: StaticPlan) -> None:
    """Measure what a step of a plan costs."""

    def start(members: int) -> Race:
        return engine.race_on([likely_config(engine, plan, i) for i in range(members)], folds=engine.folds[:1])

    engine.costs.measure(plan, start, MEASURING * max(engine.left(), 0.0))
    engine.paced = 0.0  # the pace of what ships was that of other steps


def compiled(engine: Engine, plan: StaticPlan) -> bool:
    """Let a plan train by a compiled step from now on, if the time left repays making it: where a member's own work is nearly all, twice as much."""
    heavy = engine.costs.member(plan) > 0 and engine.costs.filling(plan) < 1
    if not engine.programs.worth(plan, engine.left() / (2 if heavy else 1)):
        return False
    engine.say("compiling", engine.share_done())
    engine.programs.add(plan)
    return True


def head_start(engine: Engine) -> None:
    """A likely and a plain network by plain steps for a moment, so that there is something to ship while the compiler works.

    Only where one plan is compiled at once, trials are not counted, and nobody shares the study.
    """
    if engine.driver is not None or len(engine.plans) > 1 or engine.settings.trials is not None or not engine.programs.worth(engine.plans[0], engine.left()):
        return
    warm_up()
    race = engine.start(engine.propose(2, first=True), HEAD_START_PHASE)
    deadline = time.monotonic() + HEAD_START
    while race.alive and time.monotonic() < deadline:
        engine.epoch += 1
        race.epoch(engine.epoch, deadline, engine.tick)
    engine.close("dropped after the head start")
    engine.begun = False
    engine.first_epochs.clear()  # how long runs are is not known yet


def likely_config(engine: Engine, plan: StaticPlan, i: int) -> Config:
    """A configuration as a wave has them: a step of a wave has every regularizer in it that one of its members has on."""
    strengths = plan.of(plan.known[i % len(plan.known)]) if plan.known else plan.likely()
    return Config(-1 - i, plan, strengths, plan.lr[0], seed_of(engine.settings.seed, 0))
