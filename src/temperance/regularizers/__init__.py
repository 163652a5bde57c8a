"""The catalogue: one file a regularizer.

Importing this package imports every module of the folder, which fills the registry: a new file is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from temperance.core.registry import REGISTRY

if TYPE_CHECKING:  # for editors and type checkers, written by `make docs`; nothing else reads this list
    from temperance.regularizers.activation_sparsity import ActivationSparsity as ActivationSparsity
    from temperance.regularizers.affine import Affine as Affine
    from temperance.regularizers.augmix import AugMix as AugMix
    from temperance.regularizers.blur import Blur as Blur
    from temperance.regularizers.color_jitter import ColorJitter as ColorJitter
    from temperance.regularizers.confidence_penalty import ConfidencePenalty as ConfidencePenalty
    from temperance.regularizers.cutmix import CutMix as CutMix
    from temperance.regularizers.cutout import CutOut as CutOut
    from temperance.regularizers.denoising import Denoising as Denoising
    from temperance.regularizers.distillation import Distillation as Distillation
    from temperance.regularizers.drop_connect import DropConnect as DropConnect
    from temperance.regularizers.dropout import Dropout as Dropout
    from temperance.regularizers.elastic import Elastic as Elastic
    from temperance.regularizers.elastic_net import ElasticNet as ElasticNet
    from temperance.regularizers.ema import EMA as EMA
    from temperance.regularizers.fgsm import FGSM as FGSM
    from temperance.regularizers.gaussian_dropout import GaussianDropout as GaussianDropout
    from temperance.regularizers.grad_clip import GradClip as GradClip
    from temperance.regularizers.grad_clip_value import GradClipValue as GradClipValue
    from temperance.regularizers.gradient_noise import GradientNoise as GradientNoise
    from temperance.regularizers.group_lasso import GroupLasso as GroupLasso
    from temperance.regularizers.hidden_noise import HiddenNoise as HiddenNoise
    from temperance.regularizers.input_noise import InputNoise as InputNoise
    from temperance.regularizers.l1 import L1 as L1
    from temperance.regularizers.l2 import L2 as L2
    from temperance.regularizers.l2_sp import L2SP as L2SP
    from temperance.regularizers.label_noise import LabelNoise as LabelNoise
    from temperance.regularizers.label_smoothing import LabelSmoothing as LabelSmoothing
    from temperance.regularizers.lookahead import Lookahead as Lookahead
    from temperance.regularizers.max_abs import MaxAbs as MaxAbs
    from temperance.regularizers.max_norm import MaxNorm as MaxNorm
    from temperance.regularizers.mean_teacher import MeanTeacher as MeanTeacher
    from temperance.regularizers.mixup import MixUp as MixUp
    from temperance.regularizers.norm_ball import NormBall as NormBall
    from temperance.regularizers.orthogonality import Orthogonality as Orthogonality
    from temperance.regularizers.pgd import PGD as PGD
    from temperance.regularizers.pi_model import PiModel as PiModel
    from temperance.regularizers.pseudo_labels import PseudoLabels as PseudoLabels
    from temperance.regularizers.rand_augment import RandAugment as RandAugment
    from temperance.regularizers.random_crop import RandomCrop as RandomCrop
    from temperance.regularizers.sam import SAM as SAM
    from temperance.regularizers.shake_drop import ShakeDrop as ShakeDrop
    from temperance.regularizers.shake_shake import ShakeShake as ShakeShake
    from temperance.regularizers.soft_sharing import SoftSharing as SoftSharing
    from temperance.regularizers.spectral_norm import SpectralNorm as SpectralNorm
    from temperance.regularizers.spectral_penalty import SpectralPenalty as SpectralPenalty
    from temperance.regularizers.stochastic_depth import StochasticDepth as StochasticDepth
    from temperance.regularizers.swa import SWA as SWA
    from temperance.regularizers.tangent_prop import TangentProp as TangentProp
    from temperance.regularizers.target_noise import TargetNoise as TargetNoise
    from temperance.regularizers.tying import Tying as Tying
    from temperance.regularizers.vat import VAT as VAT
    from temperance.regularizers.weight_decay import WeightDecay as WeightDecay
    from temperance.regularizers.weight_noise import WeightNoise as WeightNoise

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")

globals().update({name: cls for name, cls in REGISTRY.items() if cls.__module__.startswith(f"{__name__}.")})
__all__ = sorted(name for name, cls in REGISTRY.items() if cls.__module__.startswith(f"{__name__}."))  # pyright: ignore[reportUnsupportedDunderAll] -- as found in the folder
