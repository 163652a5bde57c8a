"""Trials: proposed in batches by Optuna, and kept in one SQLite file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from temperance.core.errors import ConfigError
from temperance.search.space import Config, StaticPlan, as_params, draw, one_average, suggest

STUDY = "temperance"


class Proposer:
    """Strength vectors for one static plan: the first ones given, then ``startup`` from a mild prior, then a Tree-structured Parzen Estimator.

    The whole batch is asked for before any of it is told, with the constant-liar rule, so that a batch spreads out (Bergstra et al., 2011;
    Watanabe, 2023).
    """

    def __init__(self, plan: StaticPlan, seed: int, greater: bool, startup: int) -> None:
        optuna = quiet_optuna()
        self.plan = plan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=1)
            self._study: Any = optuna.create_study(direction="maximize" if greater else "minimize", sampler=sampler)
        self._open: dict[int, Any] = {}
        self._prior = np.random.default_rng([seed, 1])
        self._startup, self._asked = startup, 0

    def ask(self, number: int, seed: int, given: Mapping[str, float] | None = None, lr: float | None = None, length: float | None = None) -> Config:
        """One configuration; ``given`` strengths, learning rate and length are taken as they are."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._asked += 1
            if given is None and self._asked <= self._startup:
                given, lr, share = draw(self._prior, self.plan)
                length = share if length is None else length
            if given is not None:
                given = one_average(self.plan.cocktail, given)
            if given is None and length is not None and len(self.plan.lengths) > 1:
                self._study.enqueue_trial({"length": length})
            if given is not None and lr is not None:
                self._study.enqueue_trial(as_params(Config(number, self.plan, given, lr, seed, length or 1.0)))
            trial = self._study.ask()
            strengths, rate, share = suggest(trial, self.plan)
        self._open[number] = trial
        strengths = one_average(self.plan.cocktail, strengths) if given is None else dict(given)
        return Config(number, self.plan, strengths, rate if lr is None else lr, seed, share if length is None else length)

    def tell(self, number: int, score: float, pruned: bool = False, epochs: float = 1.0) -> None:
        """The score of a configuration: NaN where it diverged; where it was dropped, the score and the number of epochs it reached.

        What was not asked for is passed over.
        """
        if number not in self._open:
            return
        optuna = quiet_optuna()
        trial = self._open.pop(number)
        states = optuna.trial.TrialState
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if score != score:
                self._study.tell(trial, state=states.FAIL)
            elif pruned:
                trial.report(score, step=max(1, round(epochs)))
                self._study.tell(trial, state=states.PRUNED)
            else:
                self._study.tell(trial, score)


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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
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
            specs = config.plan.cocktail.specs()
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
            state = {"diverged": "FAIL", "dropped": "PRUNED"}.get(str(row["status"]).split(" ")[0], "COMPLETE")
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.add_trials(trials)
