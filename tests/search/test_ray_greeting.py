"""A worker of a Ray cluster that cannot start says why, without a cluster: Ray's reports as Ray writes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from temperance.core.errors import ConfigError
from temperance.search.cluster.ray_crew import RayCrew

HEAD = "The actor died because of an error raised in its creation task, \x1b[36mray::Worker.__init__()\x1b[39m (pid=2, ip=192.0.2.2, repr=<Temporary>)\n"
CARETS = "           ^^^^^^^^^^^^\n"
IMPORT = "RuntimeError: The actor with name Worker failed to import on the worker. This may be because needed libraries are not installed:\n\n"
CASES = {
    "not installed": (
        HEAD + CARETS + IMPORT + HEAD + CARETS + "ModuleNotFoundError: No module named 'temperance'",
        "ModuleNotFoundError: No module named 'temperance'.",
    ),
    "another release": (
        HEAD + IMPORT + "ImportError: cannot import name 'Worker' from 'temperance.search.cluster.worker' (/lib/worker.py)\n",
        "ImportError: cannot import name 'Worker' from 'temperance.search.cluster.worker' (/lib/worker.py).",
    ),
    "an error with a package": (HEAD + "torch.cuda.OutOfMemoryError: no room.\n(and a hint)", "torch.cuda.OutOfMemoryError: no room."),
    "no traceback": ("The actor is dead because its node has died.\nMore of it.", "The actor is dead because its node has died."),
    "nothing": ("", "Died."),
}


class Died(Exception):
    """Stands for ``ray.exceptions.RayError``."""


@pytest.mark.parametrize("case", CASES)
def test_the_error_of_the_worker_is_told(case: str) -> None:
    text, told = CASES[case]

    def get(ticket: object) -> Any:
        raise Died(text)

    killed: list[object] = []
    crew: Any = RayCrew.__new__(RayCrew)
    crew._ray, crew._actors, crew._ready = (
        SimpleNamespace(get=get, kill=killed.append, exceptions=SimpleNamespace(RayError=Died)),
        ["actor"],
        {"ticket": "actor"},
    )
    with pytest.raises(ConfigError) as refused:
        crew._greet("ticket")
    assert str(refused.value) == f"A worker of the Ray cluster cannot start: {told} Is temperance installed on its machine?"
    assert killed == ["actor"] and crew._actors == []
