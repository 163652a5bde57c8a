"""Messages and the ways out that they name: each is raised, and each of its ways followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from temperance.core.errors import TemperanceError


@dataclass(frozen=True)
class Way:
    """One message.

    Attributes:
        wrong: what it is raised for.
        says: the end of the message, word for word: the way out.
        follow: what the message says to do instead, each on its own; what it returns shows that it worked.
    """

    wrong: Callable[[], Any]
    says: str
    follow: tuple[Callable[[], Any], ...]


def way(wrong: Callable[[], Any], says: str, *follow: Callable[[], Any]) -> Way:
    return Way(wrong, says, follow)


def check(one: Way) -> None:
    """The message is raised and names the way; what it names works, and says something."""
    with pytest.raises(TemperanceError, match=re.escape(one.says)):
        one.wrong()
    assert one.follow
    for step in one.follow:
        found = step()
        assert found is not None and found is not False, one.says
        if isinstance(found, Tensor):
            assert torch.isfinite(found).all(), one.says
