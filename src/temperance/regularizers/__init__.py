"""The catalogue: one file a regularizer.

Importing this package imports every module of the folder, which fills the registry: a new file is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from temperance.core.registry import REGISTRY

if TYPE_CHECKING:  # for editors and type checkers; nothing else reads this list
    from temperance.regularizers.activation_sparsity import ActivationSparsity as ActivationSparsity
    from temperance.regularizers.cutmix import CutMix as CutMix
    from temperance.regularizers.drop_connect import DropConnect as DropConnect
    from temperance.regularizers.dropout import Dropout as Dropout
    from temperance.regularizers.ema import EMA as EMA
    from temperance.regularizers.fgsm import FGSM as FGSM
    from temperance.regularizers.grad_clip import GradClip as GradClip
    from temperance.regularizers.input_noise import InputNoise as InputNoise
    from temperance.regularizers.l1 import L1 as L1
    from temperance.regularizers.l2 import L2 as L2
    from temperance.regularizers.label_smoothing import LabelSmoothing as LabelSmoothing
    from temperance.regularizers.lookahead import Lookahead as Lookahead
    from temperance.regularizers.max_norm import MaxNorm as MaxNorm
    from temperance.regularizers.mixup import MixUp as MixUp
    from temperance.regularizers.pgd import PGD as PGD
    from temperance.regularizers.sam import SAM as SAM
    from temperance.regularizers.swa import SWA as SWA
    from temperance.regularizers.vat import VAT as VAT
    from temperance.regularizers.weight_decay import WeightDecay as WeightDecay

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

globals().update({name: cls for name, cls in REGISTRY.items() if cls.__module__.startswith(f"{__name__}.")})
__all__ = sorted(name for name, cls in REGISTRY.items() if cls.__module__.startswith(f"{__name__}."))  # pyright: ignore[reportUnsupportedDunderAll] -- as found in the folder
