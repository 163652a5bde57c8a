"""A model as files: safetensors and JSON. Loading one runs no code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from temperance import nets
from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError, DataError
from temperance.data import TableEncoder, TargetEncoder
from temperance.data.encode_images import ImageEncoder
from temperance.data.images import Images
from temperance.job.sources import Encoder
from temperance.search.score import predict

NETWORKS = ("TabularNet", "MLP", "ConvNet", "RecurrentNet")
FORMAT = 2


@dataclass(eq=False)
class Saved:
    """A model with what it needs to read rows.

    Attributes:
        module: a plain network.
        encoder: turns a table's columns, or images, into tensors.
        target: turns predictions into labels or values.
    """

    module: nn.Module
    encoder: Encoder
    target: TargetEncoder

    def predictions(self, source: Any) -> torch.Tensor:
        """Probabilities or standardized values ``(n, outputs)`` for the rows of a table or for images."""
        return self.outputs(self.encoder.transform(source))

    def outputs(self, x: Any) -> torch.Tensor:
        """The same for encoded rows."""
        return predict(self.module, criterion_for(self.target.task), x)

    def table(self, source: Any, proba: bool = False) -> pd.DataFrame:
        """One row an input row: the label or value in the last column ``prediction``, with ``proba`` one column a class before it.

        Images in files have their names in the first column, ``file``.

        Raises:
            ConfigError: probabilities of a regression.
        """
        if isinstance(self.encoder, ImageEncoder) and isinstance(source, (str, Path)):
            return pd.concat([self.batch(part, proba) for part in self.encoder.batches(source)], ignore_index=True)
        return self.labelled(self.predictions(source), proba)

    def batch(self, rows: Any, proba: bool = False) -> pd.DataFrame:
        """The same for rows that were read already, as ``encoder.batches`` gives them."""
        table = self.labelled(self.outputs(self.encoder.encode(rows)), proba)
        if isinstance(rows, Images) and rows.names is not None:
            table.insert(0, "file", list(rows.names), allow_duplicates=True)
        return table

    def labelled(self, out: torch.Tensor, proba: bool = False) -> pd.DataFrame:
        """The same for predictions."""
        columns: dict[str, Any] = {}
        if proba:
            if self.target.task == "regression":
                raise ConfigError(f"Expected a classification model for `--proba`, got a regression of {', '.join(self.target.names)}. Leave --proba out.")
            names = self.target.classes if self.target.task == "classification" else self.target.names
            columns = {str(name): out[:, i].double().numpy() for i, name in enumerate(names)}
        decoded = self.target.decode(out)
        if decoded.ndim == 1:
            return pd.DataFrame({**columns, "prediction": decoded})
        labels = {f"prediction {name}": decoded[:, i] for i, name in enumerate(self.target.names)}
        return pd.DataFrame({**columns, **labels})


def save_model(
    folder: Path,
    module: nn.Module,
    specs: Sequence[Mapping[str, Any] | None],
    encoder: Encoder,
    target: TargetEncoder,
    source: str | None = None,
) -> None:
    """Write ``model.safetensors`` and ``model.json``.

    Args:
        folder: the model's own.
        module: with the weights to write.
        encoder: of the columns.
        target: of the target.
        source: where anyone's own network comes from.
        specs: each network as plain values, in the order of an :class:`temperance.nets.Average`; ``None`` for anyone's own, whose ``source``
            (``FILE.py:build``) is noted instead.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().cpu().contiguous().clone() for name, t in module.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    kinds: list[Mapping[str, Any] | None] = []
    for spec in specs:
        if spec not in kinds:
            kinds.append(spec)
    meta = {
        "format": FORMAT,
        "networks": kinds,
        "average": [kinds.index(spec) for spec in specs] if isinstance(module, nets.Average) else None,
        "source": source,
        "task": target.task,
        "encoder": encoder.to_dict(),
        "target": target.to_dict(),
    }
    (folder / "model.json").write_text(json.dumps(meta, allow_nan=False), encoding="utf-8")


def load(folder: str | Path, build: Callable[[Any], nn.Module] | None = None) -> Saved:
    """Read a model written by ``fit``.

    Args:
        folder: of the fit.
        build: for a network of your own, the function that made it.

    Raises:
        DataError: no model there.
        ConfigError: the network is the user's own and ``build`` is missing, or the files do not belong together.
    """
    path = Path(folder)
    inner = path / "model" if (path / "model").is_dir() else path
    if not (inner / "model.json").is_file():
        raise DataError(f"Expected a folder written by `temperance fit`, got {str(path)!r}, which holds no model. Name the folder given to --out.")
    try:
        meta = json.loads((inner / "model.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"Expected JSON in {inner / 'model.json'}, got something else: {error}. Fit the model again.") from None
    found = meta.get("format") if isinstance(meta, dict) else None
    if found != FORMAT:
        raise DataError(f"Expected a model of format {FORMAT} in {str(path)!r}, got {found!r}. It was written by another version; fit it again.")
    with _fields(path):
        kind = ImageEncoder if "shape" in meta["encoder"] else TableEncoder
        encoder, target = kind.from_dict(meta["encoder"]), TargetEncoder.from_dict(meta["target"])
    module = _network(meta, encoder, target, build, path)
    weights = inner / "model.safetensors"
    try:
        module.load_state_dict(load_file(weights))
    except SafetensorError as error:
        raise DataError(f"Expected the weights of a model in {str(weights)!r}, got a damaged file: {error}. Copy it again, or fit the model again.") from None
    except (RuntimeError, FileNotFoundError) as error:
        raise ConfigError(
            f"Expected the weights in {inner} to fit the network, got: {str(error).splitlines()[-1].strip()}. Was the network changed since?"
        ) from None
    return Saved(module.eval(), encoder, target)


@contextmanager
def _fields(path: Path) -> Iterator[None]:
    """What is missing or of another kind in ``model.json`` is told as that."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"Expected a model written by this version in {str(path)!r}, got other fields: {error}. Fit it again.") from None


def _network(meta: Mapping[str, Any], encoder: Encoder, target: TargetEncoder, build: Callable[[Any], nn.Module] | None, path: Path) -> nn.Module:
    def one(spec: Mapping[str, Any] | None) -> nn.Module:
        if spec is not None:
            with _fields(path):
                if spec["network"] not in NETWORKS:
                    raise ConfigError(f"Expected one of {', '.join(NETWORKS)} in a model file, got {spec['network']!r}.")
                return getattr(nets, spec["network"])(**spec["arguments"])
        if build is None:
            raise ConfigError(f"The model's network is your own ({source}), and loading a model runs no code. Name the function yourself: --model {source}.")
        return build(shape_of(encoder, target))

    with _fields(path):
        average, source = meta["average"], meta["source"]
        specs = [meta["networks"][k] for k in ([0] if average is None else average)]
    networks = [nets.build_seeded(partial(one, spec), 0) for spec in specs]
    return networks[0] if average is None else nets.Average(networks, target.task)


def shape_of(encoder: Encoder, target: TargetEncoder) -> Any:
    """A data set of one row of the right shape, for ``build(data)``."""
    from temperance.data import Dataset

    if isinstance(encoder, ImageEncoder):
        x: Any = encoder.blank()
    else:
        x = {"num": torch.zeros(1, len(encoder.numeric_names)), "cat": torch.zeros(1, len(encoder.categorical), dtype=torch.long)}
    return Dataset(x, torch.zeros(1, target.outputs), target.task, None, None, encoder.cardinalities, target.classes)


def predict_table(folder: str | Path, source: Any, *, proba: bool = False, build: Callable[[Any], nn.Module] | None = None) -> pd.DataFrame:
    """Predictions of a saved model for the rows of a table or for images; see :meth:`Saved.table`."""
    return load(folder, build).table(source, proba)
