"""Optimizers whose every hyper-parameter is a number per member: one sweep over a flat (members, parameters) arena.

torch.optim takes one learning rate for all, hence these. They work in place on blocks of members that fit the cache. Under a schedule the learning
rate of the step stands where the formula has lr; rules with a velocity keep it inside the velocity.
"""

from temperance.train.optimizers.adadelta import Adadelta
from temperance.train.optimizers.adagrad import AdaGrad
from temperance.train.optimizers.adam import Adam, AdamW, NAdam
from temperance.train.optimizers.base import OPTIMIZERS, Optimizer, optimizer_from_dict
from temperance.train.optimizers.block_descent import BlockDescent
from temperance.train.optimizers.delta_bar_delta import DeltaBarDelta
from temperance.train.optimizers.muon import Muon
from temperance.train.optimizers.rmsprop import RMSProp
from temperance.train.optimizers.sgd import SGD

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "BlockDescent",
    "DeltaBarDelta",
    "Muon",
    "NAdam",
    "Optimizer",
    "RMSProp",
    "optimizer_from_dict",
]
