"""A running population as files: safetensors and JSON, which can run no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from temperance.core.errors import ConfigError
from temperance.core.files import write_whole
from temperance.train.moving import Standing, rebuild
from temperance.train.outcome import Outcome
from temperance.train.population import Population

_SEPARATOR = "/"


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Nested dicts of tensors as one dict with joined names."""
    out: dict[str, Tensor] = {}
    for name, value in tree.items():
        path = f"{prefix}{_SEPARATOR}{name}" if prefix else name
        out.update(flatten(value, path) if isinstance(value, dict) else {path: value})
    return out


def unflatten(flat: dict[str, Tensor]) -> dict[str, Any]:
    """The inverse of :func:`flatten`."""
    out: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(_SEPARATOR)
        node = out
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return out


def save_population(population: Population, folder: str | Path) -> None:
    """Write a population between two calls of ``run``; :func:`load_population` continues it bit for bit."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for i, chunk in enumerate(population.chunks):
        tensors.update(flatten({f"chunk{i}": chunk.group.tensors()}))
    for i, outcome in enumerate(population.outcomes):
        for kind in ("state", "final"):
            state = getattr(outcome, kind)
            if state is not None:
                tensors.update({f"outcome{i}{_SEPARATOR}{kind}{_SEPARATOR}{name}": t for name, t in state.items()})
    write_whole(path / "population.safetensors", save({name: t.detach().contiguous().clone() for name, t in tensors.items()}))
    meta = {
        "chunks": [
            {name: getattr(c, name) for name in ("indices", "checked", "owed")} | {name: getattr(c.group, name) for name in ("step", "counted", "compiled")}
            for c in population.chunks
        ],
        "outcomes": [{"name": o.name, "status": o.status, "history": o.history, "best": o.best, "steps": o.steps} for o in population.outcomes],
    }
    write_whole(path / "population.json", json.dumps(meta))


def load_population(population: Population, folder: str | Path) -> Population:
    """Continue a saved run in a population made with the same arguments.

    Steps are compiled or plain as they were; where none can be compiled any more, the plan says so, and the run goes on as before but for rounding.

    Raises:
        ConfigError: no saved run there, or one with other members.
    """
    path = Path(folder)
    if not (path / "population.json").is_file():
        raise ConfigError(f"Expected a saved population in {path}, found no population.json there.")
    meta = json.loads((path / "population.json").read_text(encoding="utf-8"))
    if len(meta["outcomes"]) != len(population.outcomes):
        raise ConfigError(
            f"Expected a population of {len(population.outcomes)} members in {path}, got one of {len(meta['outcomes'])}. "
            "Make the population with the same members first."
        )
    tree = unflatten(load_file(path / "population.safetensors"))
    fresh: list[Outcome] = []
    for i, (o, old) in enumerate(zip(meta["outcomes"], population.outcomes, strict=True)):
        states = tree.get(f"outcome{i}", {})
        fresh.append(Outcome(o["name"], o["status"], o["history"], o["best"], states.get("state"), states.get("final"), o["steps"], old.compiled))
    population.outcomes[:] = fresh
    _go_on_alike(population, meta["chunks"])
    standings = [Standing(s["indices"], tree[f"chunk{i}"], s["step"], s["counted"], s["checked"], s.get("owed", False)) for i, s in enumerate(meta["chunks"])]
    rebuild(population, standings)
    return population


def _go_on_alike(population: Population, saved: list[dict[str, Any]]) -> None:
    """Let members whose steps were plain go on so, though compiling was planned again: a deadline may have stood against it."""
    begun = [chunk for chunk in saved if chunk["step"] > 0]
    plain = {index for chunk in begun if not chunk.get("compiled", True) for index in chunk["indices"]}
    for kernel, chunk in {chunk.group.kernel: chunk for chunk in population.chunks if plain & set(chunk.indices)}.items():
        if kernel is not None:
            population.release(kernel, chunk, "it was saved with plain steps")
    machine = {index for chunk in begun if chunk.get("compiled", False) for index in chunk["indices"]}
    if any(chunk.group.kernel is None and machine & set(chunk.indices) for chunk in population.chunks):
        population.notes.append("saved with compiled steps, goes on with plain ones: the same but for rounding")
