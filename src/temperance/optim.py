"""Optimizers for `fit`, `search` and populations: every hyper-parameter may differ between the members of a population.

>>> import temperance as tp
>>> tp.optim.AdamW(lr=1e-3, weight_decay=0.01).hypers()["lr"]
0.001

In your own loop use `torch.optim`.
"""

from temperance.train.optimizers import SGD, Adadelta, AdaGrad, Adam, AdamW, BlockDescent, DeltaBarDelta, NAdam, Optimizer, RMSProp

__all__ = ["SGD", "AdaGrad", "Adadelta", "Adam", "AdamW", "BlockDescent", "DeltaBarDelta", "NAdam", "Optimizer", "RMSProp"]
