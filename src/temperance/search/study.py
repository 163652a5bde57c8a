"""Trials: proposed in waves, and kept in one SQLite file that Optuna reads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from temperance.core.ambient import quiet
from temperance.core.errors import ConfigError
from temperance.core.strength import StrengthSpec
from temperance.search.parzen import Points, propose
from temperance.search.places import numbers_of, place_of, points_of
from temperance.search.prior import draws
from temperance.search.space import Config, StaticPlan, as_params, seed_of

STUDY = "temperance"
ENOUGH_TO_WIDEN = 8  # trials that trained to their end
MOST_AT_END = 3  # fewest best trials that are looked at
AT_END, ROOM = 0.9, 0.25  # the place in a range from which a value is at its end, and the share by which the range grows
SAME = 0.5  # that a trial has the seed of the one that it is drawn around


class Proposer:
    """Strength vectors for one static plan: the first ones given, then ``startup`` from a prior, then waves of a Parzen estimator.

    Optuna's sampler models everything again for each trial, 15 ms with 300 trials and 40 with 1,000: on small tables a third of a search. A wave is
    proposed before any of it is told, so one model serves all of it (:mod:`temperance.search.parzen`).
    """

    def __init__(self, plan: StaticPlan, seed: int, greater: bool, startup: int) -> None:
        self.plan, self._sign = plan, 1.0 if greater else -1.0
        self.widened: dict[str, StrengthSpec] = {}
        self._open: dict[int, Config] = {}
        self._told: list[Config] = []
        self._keys: list[tuple[float, float, float, float]] = []
        self._prior, self._parzen = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
        self._startup, self._asked = startup, 0

    def adopt(self, config: Config) -> Config:
        """Take a configuration as it is, but for what the plan does not allow."""
        config = replace(config, strengths=self.plan.admitted(config.strengths, config.number))
        self._asked += 1
        self._open[config.number] = config
        return config

    def state(self) -> dict[str, Any]:
        """Where the sampler is, as plain values: what it proposes next follows from this and from what it was told."""
        generators = {"prior": self._prior.bit_generator.state, "parzen": self._parzen.bit_generator.state}
        return {**generators, "asked": self._asked, "widened": {name: spec.high for name, spec in self.widened.items()}}

    def restore(self, state: Mapping[str, Any], running: Sequence[Config]) -> None:
        """Go on from where a sampler of this plan was when it had proposed these."""
        self._prior.bit_generator.state, self._parzen.bit_generator.state = state["prior"], state["parzen"]
        self._asked = int(state["asked"])
        for name, high in state["widened"].items():
            self.plan.ranges[name] = self.widened[name] = replace(self.plan.space()[name], high=float(high))
        self._open.update({config.number: config for config in running})

    def ask(self, numbers: Sequence[int], seed: int, length: float | None = None) -> list[Config]:
        """New configurations, one per trial, for the search of this seed; ``length`` is given to all of them instead of their own.

        Ranges at whose end the best trials lie are widened before.
        """
        out: list[Config] = []
        self._widen()
        before = draws(self.plan, max(0, min(len(numbers), self._startup - self._asked)), self._prior)
        for strengths, rate, share in before:
            number = numbers[len(out)]
            out.append(self.adopt(Config(number, self.plan, strengths, rate, seed_of(seed, number), share if length is None else length)))
        rest = numbers[len(out) :]
        if rest:
            lengths = list(self.plan.lengths)
            order = sorted(range(len(self._told)), key=lambda i: self._keys[i], reverse=True)
            choice = lengths.index(length) if length in lengths else None
            ended, failed = (sum(rank == kind for rank, *_ in self._keys) for kind in (2.0, 0.0))
            told, running = self._points(self._told), self._points(list(self._open.values()))
            found, around = propose(told, order, ended, failed, running, len(rest), len(lengths), self._parzen, choice)
            for i, number in enumerate(rest):
                strengths, rate = numbers_of(self.plan, found, i)
                share = lengths[int(found.choice[i])] if length is None else length
                same = around[i] >= 0 and self._parzen.random() < SAME
                mine = self._told[around[i]].seed if same else seed_of(seed, number)
                out.append(self.adopt(Config(number, self.plan, strengths, rate, mine, share)))
        return out

    def tell(self, number: int, score: float, pruned: bool = False, epochs: float = 1.0, loss: float = 0.0) -> None:
        """The score of a configuration, and the loss that decides between equal ones: NaN where it diverged; where it was dropped, what it reached.

        What was not asked for is passed over. Those that ended come before those that were dropped, these by the epochs they reached, and what
        diverged comes last.
        """
        if number not in self._open:
            return
        self._told.append(self._open.pop(number))
        rank = 0.0 if score != score else 1.0 if pruned else 2.0
        self._keys.append((rank, epochs if rank == 1.0 else 0.0, 0.0 if score != score else self._sign * score, -math.inf if loss != loss else -loss))

    def _widen(self) -> None:
        order = sorted((i for i, (rank, *_) in enumerate(self._keys) if rank == 2.0), key=lambda i: self._keys[i], reverse=True)
        if self.plan.closed or len(order) < ENOUGH_TO_WIDEN:
            return
        best = [self._told[i].strengths for i in order[: max(MOST_AT_END, len(order) // 4)]]
        for name, spec in self.plan.space().items():
            if (wider := widened(spec, [strengths[name] for strengths in best])) is not None:
                self.plan.ranges[name] = self.widened[name] = wider

    def _points(self, configs: Sequence[Config]) -> Points:
        lengths = list(self.plan.lengths)
        near = [min(range(len(lengths)), key=lambda i: abs(lengths[i] - c.length)) for c in configs]
        return points_of(self.plan, [c.strengths for c in configs], [c.lr for c in configs], near)


def widened(spec: StrengthSpec, values: Sequence[float]) -> StrengthSpec | None:
    """A range with more room above, where half of these values, and two at least, lie at its upper end; else ``None``.

    A quarter is added, on the range's own scale, but at most half of what is legal. The lower end is next to off, which is always tried, and sizes in
    pixels are bounded by the image.

    Example:
        >>> from temperance.core.strength import strengths_of
        >>> from temperance.regularizers import WeightDecay
        >>> lam = strengths_of(WeightDecay)["lam"]
        >>> widened(lam, [9.0, 8.0, 0.1]).high, widened(lam, [9.0, 0.2, 0.1])
        (100.0, None)
    """
    at_end = [v for v in values if v != spec.off and place_of(v, spec.low, spec.high, spec.log) >= AT_END]
    if spec.side or spec.low == spec.high or len(at_end) < max(2, len(values) / 2):
        return None
    high = spec.high * (spec.high / spec.low) ** ROOM if spec.log else spec.high + ROOM * (spec.high - spec.low)
    legal = spec.valid.bounds()[1]
    return replace(spec, high=high if math.isinf(legal) else min(high, (spec.high + legal) / 2))


def quiet_optuna() -> Any:
    """Optuna without its log lines; imported when first used."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


class Ledger:
    """The SQLite file of all trials, written in one go after each round, so that nothing that was computed is lost."""

    def __init__(self, path: Path | None, greater: bool) -> None:
        self.path = path
        self._study: Any = None
        if path is not None:
            if path.exists():
                raise ConfigError(f"Expected `study` to name a new file, got {str(path)!r}, which exists. Choose another name, or remove it.")
            if not path.parent.is_dir():
                raise ConfigError(f"Expected `study` to name a file in a folder that exists, got {str(path)!r}. Make the folder, or choose another name.")
            optuna = quiet_optuna()
            with quiet:
                self._study = optuna.create_study(study_name=STUDY, storage=f"sqlite:///{path}", direction="maximize" if greater else "minimize")

    def write(self, rows: Sequence[tuple[Config, Mapping[str, Any]]]) -> None:
        """Add finished trials: their parameters, score, status and what the table shows."""
        if self._study is None or not rows:
            return
        optuna = quiet_optuna()
        trials: list[Any] = []
        for config, row in rows:
            params = as_params(config)
            distributions: dict[str, Any] = {}
            specs = config.plan.space()
            for name, value in params.items():
                if name == "learning_rate":
                    distributions[name] = optuna.distributions.FloatDistribution(min(config.plan.lr[0], value), max(config.plan.lr[1], value), log=True)
                elif name == "length":
                    distributions[name] = optuna.distributions.CategoricalDistribution(list(config.plan.lengths))
                elif name.endswith(".on"):
                    distributions[name] = optuna.distributions.CategoricalDistribution([True, False])
                else:
                    spec = specs[name]
                    distributions[name] = optuna.distributions.FloatDistribution(spec.low, spec.high, log=spec.log)
            state = {"diverged": "FAIL", "dropped": "PRUNED", "lost": "PRUNED"}.get(str(row["status"]).split(" ")[0], "COMPLETE")
            score = row["score"]
            value = None if state == "FAIL" or score != score else score
            trials.append(
                optuna.trial.create_trial(
                    state=getattr(optuna.trial.TrialState, state if value is not None or state != "COMPLETE" else "FAIL"),
                    value=value,
                    params=params,
                    distributions=distributions,
                    user_attrs={"plan": config.plan.name, "seed": config.seed, "status": str(row["status"]), "epochs": row["epochs"]},
                )
            )
        with quiet:
            self._study.add_trials(trials)
