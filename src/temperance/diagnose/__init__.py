"""Diagnosis: what is wrong with a trained network, in numbers, with a verdict and a remedy each.

The package is called like its function: ``tp.diagnose(model, data)`` examines, and ``temperance.diagnose.curvature`` is a module as ever.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from torch import nn

from temperance.diagnose.examine import CHECKS, diagnose as diagnose_function
from temperance.diagnose.finding import Diagnosis, Finding


class _Diagnose(types.ModuleType):
    def __call__(self, model: nn.Module, data: Any, **settings: Any) -> Diagnosis:
        """See :func:`temperance.diagnose.examine.diagnose`."""
        return diagnose_function(model, data, **settings)


sys.modules[__name__].__class__ = _Diagnose

__all__ = ["CHECKS", "Diagnosis", "Finding", "diagnose_function"]
