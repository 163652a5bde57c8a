"""Training: one network, or a population of them, as the same program.

>>> import torch
>>> import temperance as tp
>>> data = tp.data.as_dataset(torch.randn(40, 3), torch.arange(40) % 2)
>>> done = tp.train.fit(tp.nets.MLP(3, 2, hidden=(4,)), tp.Cocktail(tp.L2()).grid(l2__lam=[0.0, 0.1]), data, steps=2)
>>> len(done.outcomes)
2
"""

from temperance.train.bagging import bootstrap, combine, folds
from temperance.train.checkpoint import load_population, save_population
from temperance.train.curriculum import Curriculum
from temperance.train.curves import learning_curve, validation_curve
from temperance.train.fitting import Fit, fit
from temperance.train.least_squares import least_squares
from temperance.train.member import Member
from temperance.train.metrics import METRICS, Metric, metric_for, metrics_of
from temperance.train.monte_carlo import MonteCarlo, monte_carlo
from temperance.train.optimizers import SGD, Adadelta, AdaGrad, Adam, AdamW, BlockDescent, DeltaBarDelta, NAdam, Optimizer, RMSProp
from temperance.train.outcome import Outcome, history_frame
from temperance.train.population import Population
from temperance.train.pretrain import Pretrained, pretrain
from temperance.train.recipe import Recipe
from temperance.train.retrain import Retrained, retrain_member
from temperance.train.stopping import EarlyStopping, Verdict

__all__ = [
    "METRICS",
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "BlockDescent",
    "Curriculum",
    "DeltaBarDelta",
    "EarlyStopping",
    "Fit",
    "Member",
    "Metric",
    "MonteCarlo",
    "NAdam",
    "Optimizer",
    "Outcome",
    "Population",
    "Pretrained",
    "RMSProp",
    "Recipe",
    "Retrained",
    "Verdict",
    "bootstrap",
    "combine",
    "fit",
    "folds",
    "history_frame",
    "learning_curve",
    "least_squares",
    "load_population",
    "metric_for",
    "metrics_of",
    "monte_carlo",
    "pretrain",
    "retrain_member",
    "save_population",
    "validation_curve",
]
