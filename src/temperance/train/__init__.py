"""Training: one network, or a population of them, as the same program."""

from temperance.train.bagging import bootstrap, combine, folds
from temperance.train.checkpoint import load_population, save_population
from temperance.train.fitting import Fit, fit
from temperance.train.group import Member
from temperance.train.metrics import METRICS, Metric, metric_for, metrics_of
from temperance.train.optimizers import SGD, Adam, AdamW, Optimizer
from temperance.train.outcome import Outcome, history_frame
from temperance.train.population import Population
from temperance.train.retrain import Retrained, retrain_member
from temperance.train.stopping import EarlyStopping, Verdict

__all__ = [
    "METRICS",
    "SGD",
    "Adam",
    "AdamW",
    "EarlyStopping",
    "Fit",
    "Member",
    "Metric",
    "Optimizer",
    "Outcome",
    "Population",
    "Retrained",
    "Verdict",
    "bootstrap",
    "combine",
    "fit",
    "folds",
    "history_frame",
    "load_population",
    "metric_for",
    "metrics_of",
    "retrain_member",
    "save_population",
]
