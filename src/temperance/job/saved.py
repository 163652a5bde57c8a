"""A model as files: safetensors and JSON. Loading one runs no code."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import nn

from temperance import nets
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError, DataError
from temperance.core.files import write_whole
from temperance.core.renamed import OldName
from temperance.core.schema import plain
from temperance.data import Dataset, TargetEncoder, table_dataset
from temperance.data.encode_images import ImageEncoder
from temperance.data.image_arrays import as_bytes
from temperance.data.images import Images
from temperance.data.messages import listing
from temperance.data.read_images import read_images
from temperance.job.backbone import about
from temperance.job.folder import place_of, readable
from temperance.job.parts import read_part, sealed
from temperance.job.sources import Encoder
from temperance.nets.on_features import OnFeatures, head_of
from temperance.search.score import predict
from temperance.train.recipe import Recipe

if TYPE_CHECKING:
    from temperance.job.export import Exported

FORMAT = 3
EARLIER = (2,)  # without hashes


@dataclass(eq=False, repr=False)
class Saved:
    """A fitted model: what :func:`load` returns.

    Rows may be anything that was fitted: a file, a data frame, a dict of columns, and for serving one row as a dict or several as a list of
    dicts; for images a folder, a file or an array. Only the columns that the model uses have to be there. The prediction of a row does not
    depend on the rows beside it, and it is the one that ``temperance predict`` writes.

    Attributes:
        model: a plain ``torch.nn.Module`` in evaluation mode, from encoded rows to logits (an average: to the logarithms of the mean
            probabilities) or, for regression, to standardized values. An average of several networks is one module;
            with a backbone it is one too, an ``OnFeatures``, whose ``head`` was trained.
        encoder: turns a table's columns, or images, into tensors.
        target: turns predictions into labels or values.
        folder: where it was loaded from.
    """

    model: nn.Module
    encoder: Encoder
    target: TargetEncoder
    folder: Path
    module = OldName("model")

    def encode(self, rows: Any) -> Any:
        """The inputs of :attr:`model`.

        Returns:
            for a table ``{"num": float32 (n, numbers), "cat": int64 (n, categories)}``, see :class:`temperance.data.TableEncoder`; for images
            float32 ``(n, channels, height, width)``.

        Raises:
            DataError: missing columns, text where numbers were fitted, other images.
        """
        if isinstance(self.encoder, ImageEncoder):
            return self.encoder.transform(_pixels(rows, self.encoder))
        return self.encoder.transform(_columns(rows))

    def dataset(self, rows: Any) -> Dataset:
        """Rows with their target, encoded as the fit encoded its own: for training, and for scoring.

        Args:
            rows: a table with the target's columns; images with their labels.

        Raises:
            DataError: no such columns, a class that the model does not know, or whatever :meth:`encode` refuses.
        """
        if isinstance(self.encoder, ImageEncoder):
            images = read_images(rows, shape=self.encoder.shape, values=self.encoder.values, target=self.target.names)
            y, labeled = self.target.encode(images.target)
            return Dataset(self.encoder.encode(images), y, self.target.task, None, labeled, (), self.target.classes)
        return table_dataset(_columns(rows), list(self.target.names), encoder=self.encoder, target_encoder=self.target)[0]

    def examined(self, data: Dataset) -> tuple[nn.Module, Dataset]:
        """The network that was trained and the rows that it reads: with a backbone, the network behind it and the features."""
        if not isinstance(self.model, OnFeatures) or not isinstance(data.x, torch.Tensor):
            return self.model, data
        return self.model.head, replace(data, x=self.model.encode(data.x))

    def predict(self, rows: Any) -> np.ndarray:
        """The label or value of every row ``(n,)``; several labels or values ``(n, targets)``."""
        return self.target.decode(self.predictions(rows))

    def predict_proba(self, rows: Any) -> np.ndarray:
        """The probability of every class ``(n, classes)``, in the order of :attr:`classes`; of several labels, of each.

        Raises:
            ConfigError: the model predicts values.
        """
        if self.target.task == "regression":
            raise ConfigError(f"Expected a classification model for `predict_proba`, got a regression of {', '.join(self.target.names)}. Use predict.")
        return self.predictions(rows).double().numpy()

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels in the order of the probabilities; for several labels their names, for regression nothing."""
        return self.target.classes

    def export(self, *, onnx: str | Path | None = None, torch: str | Path | None = None) -> list[Exported]:
        """Write the model for programs without temperance, as ``temperance export`` does; see :func:`temperance.job.export.export`."""
        from temperance.job.export import export

        return export(self, onnx=onnx, torch=torch)

    @cached_property
    def cocktail(self) -> Cocktail:
        """The regularizers of the best trial.

        Raises:
            DataError: the folder holds the model alone.
        """
        return Cocktail.from_json(self._beside("cocktail.json"))

    @cached_property
    def recipe(self) -> Recipe:
        """How the networks were trained, for ``tp.fit(recipe=...)`` and the estimators.

        Raises:
            DataError: the folder holds the model alone.
        """
        return Recipe.of(self._beside("cocktail.json"))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds: the data, the scores on test rows, every trial.

        Raises:
            DataError: the folder holds the model alone.
        """
        self._beside("summary.json")
        return read_part(readable(self.folder), "summary.json", plain)

    def _beside(self, name: str) -> Path:
        path = place_of(readable(self.folder), name)
        if not path.is_file():
            mend = "The model predicts without it; copy the whole folder of the fit to have it."
            raise DataError(f"Expected {name!r} in {str(self.folder)!r}, got a folder without it. {mend}")
        return path

    def __repr__(self) -> str:
        head = head_of(self.model)
        networks = len(head.networks) if isinstance(head, nets.Average) else 1
        parameters = sum(p.numel() for p in head.parameters())
        kind = f"the mean of {networks} networks" if networks > 1 else type(head).__name__
        kind += f" on the features of {self.model.source}" if isinstance(self.model, OnFeatures) else ""
        classes = ", ".join(repr(c) for c in self.classes[:6]) + (f" and {len(self.classes) - 6} more" if len(self.classes) > 6 else "")
        if isinstance(self.encoder, ImageEncoder):
            inputs = f"images (channels, height, width) {self.encoder.shape}"
        else:
            names = list(self.encoder.kinds)
            inputs = listing(names, most=6) if len(names) <= 6 else f"{listing(names[:6])} and {len(names) - 6} more"
        lines = [
            f"Model in {str(self.folder)!r}",
            f"  target   {', '.join(self.target.names)}: {self.target.task}" + (f" of {classes}" if classes else ""),
            f"  inputs   {inputs}",
            f"  network  {kind}, {parameters:,} parameters",
        ]
        return "\n".join(line if len(line) <= 160 else f"{line[:157]}..." for line in lines)

    def predictions(self, source: Any) -> torch.Tensor:
        """Probabilities or standardized values ``(n, outputs)`` for the rows of a table or for images."""
        if isinstance(source, (str, Path)):  # a batch at a time: all encoded rows at once may not fit
            parts: Any = self.encoder.batches(source)
            return torch.cat([self.outputs(self.encoder.encode(part)) for part in parts])
        return self.outputs(self.encode(source))

    def outputs(self, x: Any) -> torch.Tensor:
        """The same for encoded rows."""
        out = predict(self.model, criterion_for(self.target.task), x)
        if not bool(torch.isfinite(out).all()):
            row = int((~torch.isfinite(out).all(1)).nonzero()[0]) + 1
            raise DataError(f"Expected finite predictions of the model in {str(self.folder)!r}, got NaN or infinite ones in row {row}. Fit the model again.")
        return out

    def table(self, source: Any, proba: bool = False) -> pd.DataFrame:
        """One row an input row: the label or value in the last column ``prediction``, with ``proba`` one column per class before it.

        Images in files have their names in the first column, ``file``. A class that is called as one of these has ``probability `` before its name.

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
        decoded = self.target.decode(out)
        labels = {"prediction": decoded} if decoded.ndim == 1 else {f"prediction {name}": decoded[:, i] for i, name in enumerate(self.target.names)}
        columns: dict[str, Any] = {}
        if proba:
            if self.target.task == "regression":
                raise ConfigError(f"Expected a classification model for `--proba`, got a regression of {', '.join(self.target.names)}. Leave --proba out.")
            names = [str(name) for name in (self.target.classes if self.target.task == "classification" else self.target.names)]
            others = {*labels, *(["file"] if isinstance(self.encoder, ImageEncoder) else [])}
            columns = {_beside(name, others, names): out[:, i].double().numpy() for i, name in enumerate(names)}
        return pd.DataFrame({**columns, **labels})


def _beside(name: str, others: Collection[str], names: Collection[str]) -> str:
    """The column of a class or label: its name, unless another column has it."""
    if name in others:
        while name in others or name in names:
            name = f"probability {name}"
    return name


def _columns(rows: Any) -> Any:
    """Rows as a JSON request brings them, one dict or a list of dicts, as a frame; anything else as it is."""
    if isinstance(rows, Mapping) and rows and all(np.ndim(value) == 0 for value in rows.values()):
        rows = [rows]
    if isinstance(rows, (list, tuple)) and rows and all(isinstance(row, Mapping) for row in rows):
        return pd.DataFrame.from_records(list(rows))
    return rows


def _pixels(rows: Any, encoder: ImageEncoder) -> Any:
    """An array of images in any usual order as bytes, channels first; anything else as it is."""
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu().numpy()
    return as_bytes(rows, encoder.values, "rows")[0] if isinstance(rows, np.ndarray) else rows


def save_model(
    folder: Path,
    module: nn.Module,
    specs: Sequence[Mapping[str, Any] | None],
    encoder: Encoder,
    target: TargetEncoder,
    source: str | None = None,
    beside: Sequence[Path] = (),
) -> None:
    """Write ``model.safetensors``, and then ``model.json`` with its hash: from then on the model can be loaded.

    Args:
        folder: the model's own.
        module: with the weights to write.
        encoder: of the columns.
        target: of the target.
        source: where anyone's own network comes from.
        specs: each network as plain values, in the order of an :class:`temperance.nets.Average`; ``None`` for anyone's own, whose ``source``
            (``FILE.py:build``) is noted instead.
        beside: further files that belong to the model, whose hashes are noted too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: t.detach().cpu().contiguous().clone() for name, t in module.state_dict().items()}
    weights = save(state)
    write_whole(folder / "model.safetensors", weights)
    kinds: list[Mapping[str, Any] | None] = []
    for spec in specs:
        if spec not in kinds:
            kinds.append(spec)
    meta = {
        "format": FORMAT,
        "networks": kinds,
        "average": [kinds.index(spec) for spec in specs] if isinstance(head_of(module), nets.Average) else None,
        "source": source,
        **({"backbone": about(module, encoder.shape)} if isinstance(module, OnFeatures) and isinstance(encoder, ImageEncoder) else {}),
        "task": target.task,
        "encoder": encoder.to_dict(),
        "target": target.to_dict(),
    }
    parts = {"model.safetensors": weights, **{path.name: path.read_bytes() for path in beside}}
    write_whole(folder / "model.json", sealed(meta, parts))
