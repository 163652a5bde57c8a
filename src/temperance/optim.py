"""Optimizers for `fit`, `search` and populations: every hyper-parameter may differ between the members of a population.

>>> import temperance as tp
>>> tp.optim.AdamW(lr=1e-3, weight_decay=0.01).hypers()["lr"]
0.001

In your own loop use `torch.optim`; for fine-tuning with `tp.optim.layer_decay(model, lr)` for its groups of parameters.
"""

from temperance.core.layer_rates import layer_decay
from temperance.train.optimizers import SGD, Adadelta, AdaGrad, Adam, AdamW, BlockDescent, DeltaBarDelta, Muon, NAdam, Optimizer, RMSProp

__all__ = ["SGD", "AdaGrad", "Adadelta", "Adam", "AdamW", "BlockDescent", "DeltaBarDelta", "Muon", "NAdam", "Optimizer", "RMSProp", "layer_decay"]
