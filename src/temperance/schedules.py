"""Schedules: a strength or a learning rate that changes over the steps of a run.

>>> import temperance as tp
>>> tp.L2(tp.schedules.Cosine(1e-3, end=0.1))
L2(lam=Cosine(value=0.001, warmup=0.0, end=0.1))
"""

from temperance.core.schedule import Constant, Cosine, Exponential, FlatCosine, InverseTime, Linear, Restarts, Schedule, StepDecay, UntilEnd, WarmUp

__all__ = ["Constant", "Cosine", "Exponential", "FlatCosine", "InverseTime", "Linear", "Restarts", "Schedule", "StepDecay", "UntilEnd", "WarmUp"]
