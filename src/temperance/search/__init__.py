"""The search for a cocktail: static plans, strengths proposed in batches, populations trained in rounds."""

from temperance.search.plans import network_plans, tabular_plans
from temperance.search.search import Search, search, search_plans

__all__ = ["Search", "network_plans", "search", "search_plans", "tabular_plans"]
