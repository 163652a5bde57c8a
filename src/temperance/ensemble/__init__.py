"""Averages of several networks: which ones to average, and how much their diversity is worth."""

from temperance.ensemble.diversity import Diversity, diversity, error_products, squared_error
from temperance.ensemble.selection import CrossFit, choose, cross_fit, judge_of
from temperance.ensemble.snapshots import Snapshots, snapshots

__all__ = ["CrossFit", "Diversity", "Snapshots", "choose", "cross_fit", "diversity", "error_products", "judge_of", "snapshots", "squared_error"]
