"""From the files of a model to a :class:`Saved`: each is checked before anything is made of it, and loading runs no code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from torch import Tensor, nn

from temperance import nets
from temperance.core.device import device_of
from temperance.core.errors import ConfigError, DataError, TemperanceError
from temperance.core.files import read_whole
from temperance.data import Dataset, TableEncoder, TargetEncoder
from temperance.data.encode_images import ImageEncoder
from temperance.job.backbone import OPTION, features_row, reopened
from temperance.job.build import load_build
from temperance.job.folder import MODEL, place_of, readable
from temperance.job.parts import MOST_JSON, OWN, PARTS, check_part, fitting, quoted, read_json, reason
from temperance.job.saved import EARLIER, FORMAT, Saved
from temperance.job.shapes import IMAGES, MODEL as MODEL_SHAPE, TABLE
from temperance.job.sources import Encoder, shape_of

SLACK = 10_000  # whole numbers among a network's arguments that no weight stands for, such as the sizes of images
LIMITS = ("one_hot_codes",)  # arguments that bound a choice and make nothing of their size
_AGAIN = "Copy it again, or fit the model again."


def load(
    folder: str | Path,
    build: Callable[[Any], nn.Module] | str | None = None,
    *,
    backbone: Callable[[Any], nn.Module] | str | None = None,
    device: str | torch.device | None = None,
) -> Saved:
    """Read a model that ``temperance fit`` wrote. Its files are safetensors and JSON: loading it runs no code.

    Links inside the folder are not followed, every value is checked, and the hashes of the files have to be those that the fit noted.

    Args:
        folder: of the fit, or its ``model/`` alone.
        build: for a network of your own the function that made it, or its ``FILE.py:build``, which is then run.
        backbone: likewise for a backbone of your own; one of timm is made by its name, with the weights that the model holds.
        device: where the network predicts: ``"cpu"`` (the default), ``"cuda"``, ``"cuda:1"``, or ``"auto"`` for a graphics card where there is one.
            Rows are moved there in blocks, and predictions come back.

    Returns:
        a :class:`Saved`, with ``predict``, ``predict_proba``, ``encode``, ``module``, ``cocktail`` and ``summary``.

    Raises:
        DataError: no model there, or a damaged or changed one, or weights that are not numbers.
        ConfigError: the network or its backbone is the user's own and ``build`` or ``backbone`` is missing, or the files do not belong together.

    Example, after ``temperance fit train.csv --target income``:
        >>> import temperance as tp
        >>> saved = tp.load("income")  # doctest: +SKIP
        >>> saved.predict("new.csv")  # doctest: +SKIP
        array(['<=50K', '>50K', '<=50K'], dtype=object)
    """
    path, place = Path(folder).expanduser(), device_of(device, "load")
    for last in (False, False, True):
        files = _files(path)
        before = _stamp(files.meta)
        try:
            found = _opened(path, files, build, backbone)
            if place is not None:
                found.model.to(place)
            return found
        except TemperanceError:
            if last or _stamp(_files(path).meta) == before:
                raise  # else a fit that is done just now took the place of an earlier one between two of the files
    raise AssertionError


class _Files(NamedTuple):
    meta: Path
    weights: Path
    cocktail: Path | None


def _files(path: Path) -> _Files:
    """Where the parts of a model are at this moment."""
    for wrong, what in ((not path.exists(), "does not exist"), (not path.is_dir(), "is a file")):
        if wrong:
            raise DataError(f"Expected a folder written by `temperance fit`, got {str(path)!r}, which {what}. Name the folder given to --out.")
    whole = readable(path)
    weights, meta, cocktail = (place_of(whole, name) for name in (*MODEL, "cocktail.json"))
    if not os.path.lexists(meta):
        meta, weights, cocktail = path / "model.json", path / "model.safetensors", None
    if not os.path.lexists(meta):
        raise DataError(f"Expected a folder written by `temperance fit`, got {str(path)!r}, which holds no model. Name the folder given to --out.")
    for inner in {meta.parent, weights.parent} - {path}:
        if inner.is_symlink():
            raise DataError(f"Expected a folder in {str(path)!r}, got the link {str(inner)!r}, and none is followed. Name the folder itself.")
    return _Files(meta, weights, cocktail)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns


def _opened(path: Path, files: _Files, build: Callable[[Any], nn.Module] | str | None, backbone: Callable[[Any], nn.Module] | str | None) -> Saved:
    meta = read_json(files.meta)
    found = meta.get("format")
    if found not in (FORMAT, *EARLIER):
        raise DataError(f"Expected a model of format {FORMAT} in {str(path)!r}, got {found!r}. It was written by another version; fit it again.")
    if found == FORMAT and (OWN not in meta or files.weights.name not in meta.get(PARTS, {})):
        raise DataError(f"Expected hashes in {str(files.meta)!r}, got none. It was changed since it was written. {_AGAIN}")
    encoder, target = _encoders(fitting(meta, MODEL_SHAPE, files.meta), files.meta)
    state, said = _tensors(meta, files), meta.get("backbone")
    if said is None and backbone is not None:
        raise ConfigError(f"Expected no `{OPTION}` for {str(path)!r}, whose networks have no backbone, got {quoted(backbone)!r}. Leave it out.")
    row = shape_of(encoder, target)
    own = state if said is None else {name.removeprefix("head."): tensor for name, tensor in state.items() if name.startswith("head.")}
    inputs = row if said is None else replace(row, x=features_row(said["features"]))
    module = _network(meta, inputs, target, load_build(build) if isinstance(build, str) else build, own, files.meta)
    try:
        module.load_state_dict(own)
        if said is not None:
            module = reopened(said, backbone, module, row, state, str(files.weights.parent))
    except RuntimeError as error:
        told = str(error).splitlines()[-1].strip()
        raise ConfigError(f"Expected the weights in {files.weights.parent} to fit the network, got: {told} Was the network changed since?") from None
    module.eval()
    _try_out(module, encoder, target, files.meta)
    return Saved(module, encoder, target, path)


def _encoders(meta: Mapping[str, Any], file: Path) -> tuple[Encoder, TargetEncoder]:
    """The encoders of the checked values, if these agree with each other."""
    data = meta["encoder"]
    images = isinstance(data, dict) and "shape" in data
    fitting(data, IMAGES if images else TABLE, file)
    try:
        encoder: Encoder = ImageEncoder.from_dict(data) if images else TableEncoder.from_dict(data)
        target = TargetEncoder.from_dict(meta["target"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"Expected {str(file)!r} as `temperance fit` writes it, got other fields: {reason(error)}. Fit the model again.") from None
    wrong = ""
    if isinstance(encoder, ImageEncoder):
        if not len(encoder.mean) == len(encoder.sd) == encoder.shape[0] in (1, 3):
            wrong = "as many means and deviations as channels, one or three"
    elif len(encoder.kinds) < len(encoder.numeric) + len(encoder.categorical) or not encoder.kinds:
        wrong = "columns with different names"
    elif any(len(set(column.levels)) < len(column.levels) for column in encoder.categorical):
        wrong = "different levels in each column"
    elif any(list(column.often) != sorted(set(column.often)) for column in encoder.numeric):
        wrong = "frequent values of a number in increasing order"
    if "backbone" in meta and not images:
        wrong = "images before a backbone"
    elif meta["task"] != target.task:
        wrong = f"one task, not {meta['task']!r} and {target.task!r}"
    elif target.task == "classification" and (len(set(target.classes)) < max(2, len(target.classes)) or len(target.names) != 1):
        wrong = "at least two different classes of one target"
    elif target.task == "regression" and not len(target.names) == len(target.mean) == len(target.sd):
        wrong = "a mean and a deviation for each target"
    if wrong:
        raise DataError(f"Expected {wrong} in {str(file)!r}, got something else. {_AGAIN}")
    return encoder, target


def _tensors(meta: Mapping[str, Any], files: _Files) -> dict[str, Tensor]:
    """The weights, all of them finite; they and the cocktail beside them are those that the model had when it was written."""
    path = files.weights
    try:
        content = read_whole(path)
        if files.cocktail is not None and files.cocktail.exists():
            check_part(meta, files.cocktail.name, read_whole(files.cocktail, MOST_JSON), files.cocktail)
    except FileNotFoundError:
        raise ConfigError(f"Expected the weights in {path.parent} beside model.json, got no file {path.name!r}. {_AGAIN}") from None
    except OSError as error:
        raise DataError(f"Expected the weights of a model in {str(path)!r}, got something else: {reason(error)}. {_AGAIN}") from None
    check_part(meta, path.name, content, path)
    try:
        state = tensors_of(content)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(f"Expected the weights of a model in {str(path)!r}, got a damaged file: {reason(error)}. {_AGAIN}") from None
    for name, tensor in state.items():
        if tensor.is_complex() or (tensor.is_floating_point() and not bool(torch.isfinite(tensor.double()).all())):
            raise DataError(f"Expected finite numbers in {str(path)!r}, got NaN, infinite or complex ones in {name[:100]!r}. {_AGAIN}")
    return state


def _network(
    meta: Mapping[str, Any], row: Dataset, target: TargetEncoder, build: Callable[[Any], nn.Module] | None, state: Mapping[str, Tensor], file: Path
) -> nn.Module:
    kinds, average = meta["networks"], meta["average"]
    places = [0] if average is None else average
    if max(places) >= len(kinds):
        raise DataError(f"Expected a network for each place of the average in {str(file)!r}, got {len(kinds)} for place {max(places)}. {_AGAIN}")
    specs = [kinds[k] for k in places]
    if build is None and None in specs:
        raise ConfigError(
            f"The model's network is your own ({quoted(meta['source'])}), and loading a model runs no code. Name the function yourself, as it was "
            "given to fit: --model FILE.py:build."
        )
    _fits_weights(kinds, places, state, file)

    def one(spec: Mapping[str, Any] | None) -> nn.Module:
        if spec is not None:
            return getattr(nets, spec["network"])(**spec["arguments"])
        assert build is not None
        return build(row)

    networks = [nets.build_seeded(partial(one, spec), 0) for spec in specs]
    return networks[0] if average is None else nets.Average(networks, target.task)


def _fits_weights(kinds: Sequence[Mapping[str, Any] | None], places: Sequence[int], state: Mapping[str, Tensor], file: Path) -> None:
    """Compare the shapes of the networks with those of the weights, before a network is made that may not fit into memory.

    Raises:
        ConfigError: other shapes, or arguments from which no network can be made.
    """
    room = sum(tensor.numel() for tensor in state.values()) + SLACK
    shapes: dict[int, dict[str, tuple[int, ...]]] = {}
    growing: dict[int, tuple[str, ...]] = {}
    for k in set(places):
        spec = kinds[k]
        if spec is None:
            continue
        arguments = {name: value for name, value in spec["arguments"].items() if name != "init"}
        if _size({name: value for name, value in arguments.items() if name not in LIMITS}) > room:
            raise ConfigError(f"Expected the weights in {file.parent} to fit the network, got larger counts in {file.name!r} than there are weights. {_AGAIN}")
        try:
            with torch.device("meta"):
                made = getattr(nets, spec["network"])(**arguments)
        except TemperanceError as error:
            raise ConfigError(f"Expected a network in {str(file)!r}, got arguments from which none can be made: {error}") from None
        except Exception as error:  # the arguments are a stranger's, and torch raises whatever it likes
            raise DataError(f"Expected a network in {str(file)!r}, got arguments from which none can be made: {reason(error)}. {_AGAIN}") from None
        shapes[k] = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
        growing[k] = getattr(made, "remembered", ())
    if len(shapes) < len(set(places)):
        return
    single = len(places) == 1 and not any(name.startswith("networks.") for name in state)
    wanted = {(name if single else f"networks.{i}.{name}"): shape for i, k in enumerate(places) for name, shape in shapes[k].items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items() if single or name != "weights"}
    for i, k in enumerate(places):
        own = [name if single else f"networks.{i}.{name}" for name in growing[k]]
        rows = {found[name][0] for name in own if found.get(name)}
        if len(rows) == 1:  # as many training rows as the network remembers
            wanted |= {name: (*rows, *wanted[name][1:]) for name in own}
    strange = sorted(set(wanted.items()) ^ set(found.items()))
    if strange:
        name = strange[0][0]
        raise ConfigError(
            f"Expected the weights in {file.parent} to fit the network, got {found.get(name, 'nothing')} for {name[:100]!r} instead of "
            f"{wanted.get(name, 'nothing')}. Was the network changed since?"
        )


def _size(value: Any) -> int:
    """The sum of all whole numbers and of the lengths of all lists: what a network of these arguments has to have at least."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return abs(value)
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return len(value) + sum(map(_size, value)) if isinstance(value, (list, tuple)) else 0


def _try_out(module: nn.Module, encoder: Encoder, target: TargetEncoder, file: Path) -> None:
    """One row with the largest code of each category: what an encoder gives has to go through the network."""
    row = shape_of(encoder, target).x
    if isinstance(row, dict):
        row = {**row, "cat": torch.tensor([[codes - 1 for codes in encoder.cardinalities]], dtype=torch.long).reshape(1, -1)}
    try:
        with torch.no_grad():
            out = module(row)
        shape = tuple(out.shape)
    except TemperanceError:
        raise
    except Exception as error:  # whatever a network raises for rows of another kind
        raise ConfigError(f"Expected a network in {str(file)!r} that takes what its encoder gives, got: {reason(error)}. {_AGAIN}") from None
    if isinstance(module, nets.Average) and not bool((module.weights > 0).all()):
        raise ConfigError(f"Expected positive weights of the average in {str(file)!r}, got {module.weights.tolist()[:10]}. {_AGAIN}")
    if shape != (1, target.outputs):
        raise ConfigError(f"Expected a network in {str(file)!r} with {target.outputs} outputs, got an output of shape {shape}. {_AGAIN}")


def predict_table(
    folder: str | Path, source: Any, *, proba: bool = False, build: Callable[[Any], nn.Module] | None = None, backbone: Any = None
) -> pd.DataFrame:
    """Predictions of a saved model for the rows of a table or for images; see :func:`load` and :meth:`Saved.table`."""
    return load(folder, build, backbone=backbone).table(source, proba)
