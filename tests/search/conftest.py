"""What several tests of the search share."""

from __future__ import annotations

from typing import Any

import pytest

from temperance.search import search as search_module
from temperance.search.engine import Engine


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Those of the searches of a test."""
    seen = list[Engine]()

    class Watched(Engine):
        def run(self, strategy: Any) -> None:
            seen.append(self)
            super().run(strategy)

    monkeypatch.setattr(search_module, "Engine", Watched)
    return seen
