"""Diagnosis: what is wrong with a trained network, in numbers, with a verdict and a remedy each.

``tp.diagnose`` is the function, and leads to what this package holds: ``tp.diagnose.CHECKS``, ``temperance.diagnose.curvature``.
"""

from __future__ import annotations

from temperance.core.shared_names import share_names
from temperance.diagnose.examine import CHECKS, diagnose as diagnose_function
from temperance.diagnose.finding import Diagnosis, Finding

__all__ = ["CHECKS", "Diagnosis", "Finding", "diagnose_function"]

share_names(diagnose_function, globals())
