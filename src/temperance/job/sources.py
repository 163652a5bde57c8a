"""From a source of rows, a table or images, to a data set, a split and the encoders that read further rows of the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from temperance.core.errors import ConfigError, DataError
from temperance.core.shown import shown
from temperance.data import Dataset, Split, TableEncoder, TargetEncoder, describe_columns, plan_split, read_table, table_dataset
from temperance.data.columns import infer_columns, remarks
from temperance.data.encode_images import ImageEncoder
from temperance.data.groups import group_codes
from temperance.data.image_files import LARGEST_SIDE, Told
from temperance.data.image_lists import is_image_list
from temperance.data.images import Images, size_in_words
from temperance.data.make import given_names, target_columns
from temperance.data.messages import listing, near
from temperance.data.parse import days, numbers
from temperance.data.read import joined, read_cells
from temperance.data.read_images import is_images, read_images
from temperance.diagnose.finding import Finding
from temperance.job.backbone import LARGEST_SIDE as LARGEST_WITH_BACKBONE, OPTION, Backbone, Named, learned
from temperance.job.look import Looked, doubts, look, look_at_rows, look_at_target
from temperance.search.plans import many_unlabeled

Encoder = TableEncoder | ImageEncoder
_NEW = {"folder": "new-images/", "idx": "new-images-idx3-ubyte.gz", "npz": "new.npz"}


@shown
@dataclass(eq=False, kw_only=True)
class Rows:
    """Encoded rows and how they were understood.

    Attributes:
        data: all rows.
        encoder: turns what was read into inputs.
        target: turns predictions into labels or values.
        split: which rows do what.
        title: of the report.
        columns: every column of a table, for people.
        notes: what else is to be said.
        findings: what was looked for in the columns, the rows and the target before training.
        warnings: what of it is doubtful, and what comes up later.
        images: the images before they were encoded, ``None`` for tables.
        more: an example of further rows, for the command that predicts them.
        backbone: the network whose features of the images ``data`` holds; ``None`` where networks see the images themselves.
    """

    data: Dataset
    encoder: Encoder
    target: TargetEncoder
    split: Split
    title: str
    columns: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list[Finding])
    warnings: list[str] = field(default_factory=list)
    images: Images | None = None
    more: str = "new.csv"
    backbone: Backbone | None = None

    def original(self) -> Dataset:
        """The rows as :attr:`encoder` makes them: images where ``data`` holds features of them."""
        if self.backbone is None:
            return self.data
        assert isinstance(self.encoder, ImageEncoder) and self.images is not None
        return replace(self.data, x=self.encoder.encode(self.images))


def name_of(source: Any) -> str:
    """A short name of a source of rows."""
    if not isinstance(source, (str, Path)):
        return type(source).__name__
    return Path(source).name or Path(source).resolve().name


def read_rows(
    source: Any,
    target: str | Sequence[str] | None,
    *,
    test: Any = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    task: str | None = None,
    na: str | Sequence[str] | None = None,
    dates: str | None = None,
    keep: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    seed: int,
    told: Told | None = None,
    backbone: Named | None = None,
) -> Rows:
    """Read, understand, split and encode the rows of a source, whatever its kind; ``told`` hears the share of the images that is read.

    With a ``backbone`` the rows of images are its features.
    """
    if backbone is not None and not is_images(source):
        raise ConfigError(f"Expected images with `{OPTION}`, got {name_of(source)!r}, which is read as a table. Leave it out, or name images.")
    if not is_images(source):
        return table_rows(source, target, test=test, ignore=ignore, weight=weight, task=task, na=na, dates=dates, keep=keep, group=group, time=time, seed=seed)
    if target is not None and Path(source).is_dir() and not any(Path(source).iterdir()):
        read_table(source)  # says what is wrong: with a target a table is meant
    if target is not None and is_image_list(Path(source)):
        target, names = None, given_names(target)
    else:
        names = []
    columns = {"--target": target, "--ignore": ignore, "--weight": weight, "--keep": keep, "--group": group, "--time": time}
    for name, value in {**columns, "--na": na, "--dates": dates}.items():
        if value:
            raise ConfigError(f"Expected no `{name}` for images, got {value!r}: they come with their labels and have no columns. Leave it out.")
    return image_rows(source, test=test, task=task, seed=seed, target=names, told=told, backbone=backbone)


def table_rows(
    source: Any,
    target: str | Sequence[str] | None,
    *,
    test: Any = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    task: str | None = None,
    na: str | Sequence[str] | None = None,
    dates: str | None = None,
    keep: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    seed: int,
) -> Rows:
    """The rows of a table; scales, levels and bins are learned from the training rows."""
    frame, notes = read_cells(source, na=na, plain=test is None)
    if not target:
        raise DataError(f"Expected `--target` to name the column to predict, got none. The columns are {listing(frame.columns)}.")
    targets, ignore = given_names(target), given_names(ignore)
    group, time = (None if name is None else given_names(name)[0] for name in (group, time))
    for option, name in (("group", group), ("time", time)):
        if name in targets:
            raise DataError(f"Expected `--{option}` to be another column than the target, got {name!r} for both. Name another column.")
    ignore += [name for name in dict.fromkeys((group, time)) if name is not None and name not in (*ignore, *given_names(keep))]
    extra: pd.DataFrame | None = None
    if test is not None:
        extra, more = read_cells(test, what="test data", na=na, plain=False)
        notes += [f"in the test data, {note}" for note in more]
        missing = [name for name in frame.columns if name not in extra.columns and name not in ignore]
        if missing:
            raise DataError(f"Expected the test data to have the columns of the data, got none named {missing[0]!r}. Add it, or leave --test out.")
    n = len(frame)
    whole = frame if extra is None else joined(frame, extra[[c for c in frame.columns if c in extra.columns]])
    absent = [name for name in targets if name not in frame.columns]
    if absent:
        table_dataset(frame, targets)  # raises with near names
    values = target_columns(whole, targets)
    first = TargetEncoder().fit(values, task, ", ".join(targets))
    split = split_of(first, values, n, seed, apart=apart(frame, group, time, dates))
    if extra is not None and group is not None:
        split = replace(split, groups=group_codes(whole[group], len(whole)))  # of the test rows too
    data, encoder, encoded = table_dataset(whole, targets, ignore=ignore, weight=weight, task=task, fit_rows=learned_from(split), na=na, dates=dates, keep=keep)
    names, notes = ", ".join(targets), notes + remarks(encoder.columns)
    looked = Looked(whole, n, encoder.columns, data, encoded, values, targets, names, split, group, time, seed)
    findings = look(looked, guessed=task is None)
    columns, title = describe_columns(list(encoder.columns)), f"{names} in {name_of(source)}"
    for column in columns:
        if column["kind"] == "ignored" and column["column"] in (group, time):
            column["notes"] = "splits the rows"
    said: dict[str, Any] = {"title": title, "columns": columns, "notes": notes, "findings": findings, "warnings": doubts(findings)}
    return Rows(data=data, encoder=encoder, target=encoded, split=split, **said)


def image_rows(
    source: Any,
    *,
    test: Any = None,
    task: str | None = None,
    seed: int,
    target: Sequence[str] = (),
    told: Told | None = None,
    backbone: Named | None = None,
) -> Rows:
    """Images with their labels; mean and standard deviation are learned from the training images."""
    tell, side = (told, LARGEST_SIDE) if backbone is None else (_part(told, 0.0, 0.5), LARGEST_WITH_BACKBONE)
    images = read_images(source, target=target, told=tell, side=side)
    if test is not None:
        if not is_images(test):
            raise DataError(f"Expected `--test` to be images like the data, got {str(test)!r}. Give a folder, a list of images, an idx file or a .npz archive.")
        later = read_images(test, shape=images.shape, values=images.values, what="test data", target=_named(images, test))
        images = images.with_untouched(replace(later, untouched=0))
    labels, name = images.labels, ", ".join(images.label_names)
    assert labels is not None
    whole = images.kind != "list" and (labels.dtype.kind in "OUSb" or bool((labels == np.round(labels.astype(np.float64))).all()))
    kinds = TargetEncoder().fit(images.target, task or ("classification" if whole else None), name)
    split = image_split(kinds, images, seed)
    kinds.fit(images.target, kinds.task, name, rows=learned_from(split))
    encoder = ImageEncoder().fit(images, learned_from(split))
    y, labeled = kinds.encode(images.target)
    frozen, notes = None, [f"images of {size_in_words(images.shape)}", *images.notes]
    if backbone is not None:
        encoder.mean, encoder.sd = (0.0,) * encoder.shape[0], (1.0,) * encoder.shape[0]  # a backbone sees fractions in [0, 1]
    data = Dataset(encoder.encode(images), y, kinds.task, None, labeled, (), kinds.classes)
    if backbone is not None:
        frozen, data = learned(backbone, data, learned_from(split), shape_of(encoder, kinds), _part(told, 0.5, 1.0))
        notes.append(f"networks read the {data.in_features:,} features that {backbone.source} has of each image")
    guessed = images.kind == "list" and labels.ndim == 1 and task is None
    findings = [*look_at_target(pd.Series(labels) if guessed else None, name, kinds.task, guessed=guessed), *look_at_rows(data, split)]
    title, more = name_of(source), _NEW.get(images.kind) or f"new{Path(source).suffix}"
    said: dict[str, Any] = {"title": title, "notes": notes, "findings": findings, "warnings": doubts(findings)}
    return Rows(data=data, encoder=encoder, target=kinds, split=split, images=images, more=more, backbone=frozen, **said)


def _part(told: Told | None, low: float, high: float) -> Told | None:
    """Tells shares of a part of the work as shares of the whole."""
    return None if told is None else lambda share: told(low + (high - low) * share)


def shape_of(encoder: Encoder, target: TargetEncoder) -> Dataset:
    """A data set of one row of the right shape, for ``build(data)``."""
    if isinstance(encoder, ImageEncoder):
        x: Any = encoder.blank()
    else:
        x = {"num": torch.zeros(1, len(encoder.numeric_names)), "cat": torch.zeros(1, len(encoder.cardinalities), dtype=torch.long)}
    return Dataset(x, torch.zeros(1, target.outputs), target.task, None, None, encoder.cardinalities, target.classes)


def _named(images: Images, other: Any) -> tuple[str, ...]:
    """The columns with the labels in another source, if that has columns."""
    return images.label_names if images.kind == "list" and is_image_list(Path(other)) else ()


def image_split(target: TargetEncoder, images: Images, seed: int) -> Split:
    """Which images do what, as the source says it where it does."""
    n = len(images) - images.untouched
    if not images.held:
        return split_of(target, images.target, n, seed)
    first = n - images.held
    learn = np.arange(first)
    test = np.arange(n, len(images))
    if not images.untouched:
        y, labeled = target.encode(images.target)
        drawn = plan_split(y[:first], target.task, seed=seed, labeled=None if labeled is None else labeled[:first])
        learn, test = np.setdiff1d(learn, drawn.test), drawn.test
    held = np.arange(first, n)
    reason = f"the {len(held):,} images to validate with are given."
    return Split(learn, held, [(learn, held)], test, "hold-out", reason, given=bool(images.untouched))


def apart(frame: pd.DataFrame, group: str | None, time: str | None, dates: str | None) -> dict[str, Any]:
    """The groups and the times of the rows of a table, for :func:`temperance.data.plan_split`.

    Raises:
        DataError: no such column, or times that are neither numbers nor dates.
    """
    out: dict[str, Any] = {}
    for option, name in (("group", group), ("time", time)):
        if name is not None and name not in frame.columns:
            raise DataError(f"Expected `--{option}` to name a column of the table, got {name!r}. {near(name, list(frame.columns))}")
    if group is not None:
        out["groups"] = frame[group]
    if time is not None:
        out["time"] = times(frame[time], time, dates)
    return out


def times(series: pd.Series, name: str, dates: str | None) -> pd.Series:
    """A column as numbers or as dates, whichever it holds."""
    try:
        (column,) = infer_columns(pd.DataFrame({name: series}), keep=[name], dates=dates)
    except DataError as error:
        raise DataError(f"`--time`: {error} Or leave --time out.") from None
    stamps, other = days(series, column.order)
    if column.kind == "date" or (column.kind == "ignored" and not other.any()):
        return pd.Series(pd.to_datetime(stamps * 86_400e6, unit="us"), name=name)
    values, wrong = numbers(series, column.form)
    if wrong.any():
        example = series.iloc[int(np.flatnonzero(wrong)[0])]
        raise DataError(f"Expected `--time` to name a column of dates or numbers, got {name!r} with {str(example)[:60]!r}. Name another, or leave --time out.")
    return pd.Series(values, name=name)


def split_of(target: TargetEncoder, values: Any, n: int, seed: int, *, apart: Mapping[str, Any] | None = None) -> Split:
    """A split of the first ``n`` rows; those after them are the test rows, and without any a fifth of the first is."""
    y, labeled = target.encode(values)
    split = plan_split(y[:n], target.task, seed=seed, test=len(y) == n, labeled=None if labeled is None else labeled[:n], **(apart or {}))
    return split if len(y) == n else replace(split, test=np.arange(n, len(y)), given=True)


def learned_from(split: Split) -> np.ndarray:
    """The rows from which scales may be learned."""
    return np.sort(split.folds[0][0]) if split.kind == "hold-out" else split.train


def missing_targets(data: Dataset) -> list[str]:
    """What is to be said about rows without a target."""
    if not isinstance(data.labeled, Tensor):
        return []
    count = int((~data.labeled).sum())
    tried = "the search tries what learns from them" if many_unlabeled(data) else "they only serve regularizers that need none, such as VAT (--use VAT)"
    return [f"{count:,} rows have no target and only train: {tried}"]
