"""Averages of several networks: which ones to average, and how much their diversity is worth.

>>> import temperance as tp
>>> samples = tp.ensemble.bootstrap(100, 5, seed=0)  # the rows of each member
>>> len(samples), len(samples[0])
(5, 100)
"""

from temperance.ensemble.diversity import Diversity, diversity, error_products, squared_error
from temperance.ensemble.selection import CrossFit, choose, cross_fit, judge_of
from temperance.ensemble.snapshots import Snapshots, snapshots
from temperance.train.bagging import bootstrap, combine, folds

__all__ = [
    "CrossFit",
    "Diversity",
    "Snapshots",
    "bootstrap",
    "choose",
    "combine",
    "cross_fit",
    "diversity",
    "error_products",
    "folds",
    "judge_of",
    "snapshots",
    "squared_error",
]
