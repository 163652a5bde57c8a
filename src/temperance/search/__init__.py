"""The search for a cocktail: static plans, strengths proposed in batches, populations trained in waves.

``tp.search`` is the function, and leads to what this package holds: ``tp.search.kadra_plans``, ``temperance.search.plans``.
"""

from __future__ import annotations

from temperance.core.shared_names import share_names
from temperance.search.kadra import kadra_plans
from temperance.search.plans import network_plans, tabular_plans
from temperance.search.result import Search
from temperance.search.search import search as search_function, search_plans

__all__ = ["Search", "kadra_plans", "network_plans", "search_function", "search_plans", "tabular_plans"]

share_names(search_function, globals())
