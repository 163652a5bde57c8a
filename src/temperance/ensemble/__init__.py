"""Averages of several networks: which ones to average, and how much their diversity is worth.

>>> import temperance as tp
>>> members = tp.ensemble.bootstrap(tp.Member(), 100, members=5)  # each on its own draw of 100 rows
>>> len(members), len(members[0].rows)
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
