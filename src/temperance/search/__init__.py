"""The search for a cocktail: static plans, strengths proposed in batches, populations trained in waves.

The package is called like its function: ``tp.search(build, data)`` searches, and ``temperance.search.plans`` is a module as ever.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

from torch import nn

from temperance.data.dataset import Dataset
from temperance.search.kadra import kadra_plans
from temperance.search.plans import network_plans, tabular_plans
from temperance.search.result import Search
from temperance.search.search import search as search_function, search_plans


class _Search(types.ModuleType):
    def __call__(self, build: Callable[[Dataset], nn.Module], data: Any, **settings: Any) -> Search:
        """See :func:`temperance.search.search.search`."""
        return search_function(build, data, **settings)


sys.modules[__name__].__class__ = _Search

__all__ = ["Search", "kadra_plans", "network_plans", "search_function", "search_plans", "tabular_plans"]
