"""The catalogue: one file a regularizer. Importing this package fills the registry."""

from temperance.regularizers.activation_sparsity import ActivationSparsity
from temperance.regularizers.cutmix import CutMix
from temperance.regularizers.drop_connect import DropConnect
from temperance.regularizers.dropout import Dropout
from temperance.regularizers.ema import EMA
from temperance.regularizers.fgsm import FGSM
from temperance.regularizers.grad_clip import GradClip
from temperance.regularizers.input_noise import InputNoise
from temperance.regularizers.l1 import L1
from temperance.regularizers.l2 import L2
from temperance.regularizers.label_smoothing import LabelSmoothing
from temperance.regularizers.lookahead import Lookahead
from temperance.regularizers.max_norm import MaxNorm
from temperance.regularizers.mixup import MixUp
from temperance.regularizers.pgd import PGD
from temperance.regularizers.sam import SAM
from temperance.regularizers.swa import SWA
from temperance.regularizers.vat import VAT
from temperance.regularizers.weight_decay import WeightDecay

__all__ = [
    "EMA",
    "FGSM",
    "L1",
    "L2",
    "PGD",
    "SAM",
    "SWA",
    "VAT",
    "ActivationSparsity",
    "CutMix",
    "DropConnect",
    "Dropout",
    "GradClip",
    "InputNoise",
    "LabelSmoothing",
    "Lookahead",
    "MaxNorm",
    "MixUp",
    "WeightDecay",
]
