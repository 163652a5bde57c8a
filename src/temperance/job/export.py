"""A fitted model as one file for other programs: ONNX, or a program of ``torch.export``. Each is run beside the model before it gets its name."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from temperance import __version__
from temperance.core.criterion import criterion_for
from temperance.core.errors import ConfigError
from temperance.data.encode_images import ImageEncoder
from temperance.nets import Average
from temperance.nets.on_features import OnFeatures

if TYPE_CHECKING:
    from temperance.job.saved import Saved

CHECKED = (1, 17, 200)  # rows of the batches on which an export is compared with the model
TRACED = 5  # rows of the batch that is traced; any number may come later
BITS = 8.0  # an export may be farther from the model than the model from the same network in double precision by so much: three bits
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
Inputs = dict[str, Tensor]
Run = Callable[[Inputs], Tensor]


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how far it is from the model.

    Attributes:
        file: its path.
        inputs: name, type and shape of every input.
        output: the same of the output.
        difference: the largest one from the model, over all batches that were compared.
        limit: the largest one that rounding explains.
        runner: what ran the file for the comparison.
    """

    file: Path
    inputs: tuple[str, ...]
    output: str
    difference: float
    limit: float
    runner: str


class Served(nn.Module):
    """A model with its last step: probabilities, or values in the target's own units in double precision.

    Args:
        saved: the model; it is not changed.

    Shapes:
        those of the tensors that :func:`inputs_of` names, to ``(n, outputs)``.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, saved: Saved) -> None:
        super().__init__()
        self.network = copy.deepcopy(saved.model).cpu().eval()
        for module in self.network.modules():
            if isinstance(module, Average):
                module.stacked = False  # one network after another: what torch.vmap batches cannot be traced for any number of rows
            if isinstance(module, OnFeatures):
                module.at_once = None  # likewise blocks of rows
        self.criterion = criterion_for(saved.target.task)
        self.values = saved.target.task == "regression"
        for name in ("mean", "sd"):
            self.register_buffer(name, torch.tensor(getattr(saved.target, name), dtype=torch.float64))

    def forward(self, num: Tensor | None = None, cat: Tensor | None = None, images: Tensor | None = None) -> Tensor:
        out = self.criterion.predict(self.network(whole_rows(num, cat, images)))
        return out.double() * self.sd + self.mean if self.values else out


def whole_rows(num: Tensor | None = None, cat: Tensor | None = None, images: Tensor | None = None) -> Any:
    """What a network takes: images, or both kinds of columns of a table, of one that it lacks none."""
    if images is not None:
        return images
    if num is None:
        assert cat is not None
        num = cat.new_zeros((cat.shape[0], 0), dtype=torch.float32)  # not len(), which a trace takes for a constant
    return {"num": num, "cat": num.new_zeros((num.shape[0], 0), dtype=torch.int64) if cat is None else cat}


def inputs_of(saved: Saved) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of a row of every encoded input, by name: ``num`` and ``cat`` of a table where it has such columns, or ``images``."""
    if isinstance(saved.encoder, ImageEncoder):
        return {"images": (torch.float32, saved.encoder.shape)}
    numbers, categories = len(saved.encoder.numeric_names), len(saved.encoder.cardinalities)
    sizes = {"num": (torch.float32, (numbers,)), "cat": (torch.int64, (categories,))}
    return {name: (dtype, shape) for name, (dtype, shape) in sizes.items() if shape[0]}


def export(saved: Saved, *, onnx: str | Path | None = None, torch: str | Path | None = None) -> list[Exported]:
    """Write a model for programs without temperance: encoded rows in, probabilities or values out, for any number of rows at once.

    The exported program takes what :meth:`Saved.encode` gives, by the names ``num`` and ``cat`` (one of them where the table has only such
    columns), or ``images``. Its output is ``probabilities`` ``(n, classes)``, or for regression ``values`` ``(n, targets)`` in the target's own
    units. The classes, the columns and the encoder are noted in the file.

    Args:
        saved: the model.
        onnx: a file ``.onnx``, for onnxruntime and others.
        torch: a file ``.pt2``, for ``torch.export.load``.

    Returns:
        one :class:`Exported` a file.

    Raises:
        ConfigError: no file or a wrong name, packages that are missing, a network that cannot be traced, or a program that does not compute what
            the model does. Nothing is written then.
    """
    wanted = {kind: Path(path) for kind, path in (("onnx", onnx), ("torch", torch)) if path is not None}
    if not wanted:
        raise ConfigError("Expected `--onnx` or `--torch` with a file to write, got neither. For example: --onnx model.onnx.")
    for kind, path in wanted.items():
        _check_place(path, kind)
    if "onnx" in wanted:
        _require_onnx()
    served = Served(saved).eval()
    return [_written(saved, served, kind, path) for kind, path in wanted.items()]


def _check_place(path: Path, kind: str) -> None:
    option, suffix = f"--{kind}", SUFFIXES[kind]
    if path.suffix.lower() != suffix:
        raise ConfigError(f"Expected `{option}` to name a {suffix} file, got {str(path)!r}. Change its ending.")
    if path.is_dir():
        raise ConfigError(f"Expected `{option}` to name a file, got the folder {str(path)!r}. Name a file in it.")
    if not path.parent.is_dir():
        raise ConfigError(f"Expected `{option}` to lie in an existing folder, got {str(path)!r}. Make the folder {str(path.parent)!r} first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"Expected `{option}` to be a file that can be written, got {str(path)!r}. Choose another place.")


def _require_onnx() -> None:
    missing: list[str] = []
    for name in ("onnx", "onnxscript"):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        names = " and ".join(missing)
        raise ConfigError(f"Expected the packages onnx and onnxscript for `--onnx`, got no {names}. Install them: python -m pip install onnx onnxscript")


def _written(saved: Saved, served: Served, kind: str, path: Path) -> Exported:
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        example = rows_like(saved, TRACED, seed=0)
        with _quiet():
            try:
                run, runner = (_onnx if kind == "onnx" else _program)(served, example, partial, _facts(saved))
            except OSError:
                raise
            except Exception as error:  # torch tells what it cannot trace in many types
                reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
                mend = "Use tp.load(DIR).model in Python, or write its forward in operations of torch on tensors of any number of rows."
                raise ConfigError(f"Expected a network that torch can export, got {type(saved.model).__name__}: {reason}. {mend}") from error
            difference, limit = compare(saved, served, run)
        if not difference <= limit:
            mend = "Nothing was written. Use tp.load(DIR).model in Python, and please report this."
            raise ConfigError(
                f"Expected `--{kind}` to compute what the model does, within {limit:.2g}, got a difference of {difference:.2g} in {runner}. {mend}"
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    names = ", ".join(map(str, saved.classes if saved.classes else saved.target.names))
    kinds = tuple(f"{name}: {_spelled(dtype)} ({', '.join(map(str, ('rows', *shape)))})" for name, (dtype, shape) in inputs_of(saved).items())
    output = f"{_output(saved)}: {'float64' if served.values else 'float32'} (rows, {saved.target.outputs}) of {names}"
    return Exported(path, kinds, output, difference, limit, runner)


def _output(saved: Saved) -> str:
    return "values" if saved.target.task == "regression" else "probabilities"


def _spelled(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _facts(saved: Saved) -> dict[str, str]:
    """What a program that reads the file needs to know, as text."""
    facts = {
        "task": saved.target.task,
        "target": list(saved.target.names),
        "classes": list(saved.classes),
        "inputs": list(inputs_of(saved)),
        "output": _output(saved),
        "encoder": saved.encoder.to_dict(),
    }
    return {"temperance": __version__} | {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn and log about themselves."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)


def _program(served: Served, example: Inputs, path: Path, facts: Mapping[str, str]) -> tuple[Run, str]:
    torch.export.save(_traced(served, example), path, extra_files={"temperance.json": json.dumps(dict(facts))})
    again: Any = torch.export.load(path).module()
    return (lambda inputs: again(**inputs)), "torch.export"


def _traced(served: Served, example: Inputs) -> torch.export.ExportedProgram:
    rows = torch.export.Dim("rows")
    return torch.export.export(served, (), example, dynamic_shapes={name: {0: rows} for name in example})


def _onnx(served: Served, example: Inputs, path: Path, facts: Mapping[str, str]) -> tuple[Run, str]:
    program = torch.onnx.export(
        _traced(served, example),  # given the network itself, the exporter tries other ways, which fix the number of rows
        dynamo=True,
        verbose=False,
        input_names=list(example),
        output_names=["values" if served.values else "probabilities"],
        dynamic_shapes={name: {0: "rows"} for name in example},
    )
    assert program is not None
    program.model.metadata_props.update(facts)
    program.save(str(path), external_data=False)
    return onnx_runner(path)


def onnx_runner(path: Path) -> tuple[Run, str]:
    """What runs an ONNX file, and its name: onnxruntime where it is installed, else the reference of the onnx package."""
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        session, runner = importlib.import_module("onnx.reference").ReferenceEvaluator(str(path)), "the reference of onnx"
    else:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        runner = f"onnxruntime {runtime.__version__}"
    return (lambda inputs: torch.as_tensor(session.run(None, {name: t.numpy() for name, t in inputs.items()})[0])), runner


def rows_like(saved: Saved, n: int, seed: int) -> Inputs:
    """Encoded rows as the encoder could give them: numbers within its bounds, every code, and columns of 0 and 1 that mark missing values."""
    draw = torch.Generator().manual_seed(seed)
    out: Inputs = {}
    for name, (_, shape) in inputs_of(saved).items():
        if name == "cat":
            codes = torch.tensor(saved.encoder.cardinalities, dtype=torch.float64)
            out[name] = (torch.rand(n, *shape, generator=draw, dtype=torch.float64) * codes).long()
            continue
        leaf = (2 * torch.randn(n, *shape, generator=draw)).clamp(-6, 6)
        if not isinstance(saved.encoder, ImageEncoder):
            marks = leaf[:, len(saved.encoder.numeric) :]
            marks.copy_((marks > 0).float())
        out[name] = leaf
    return out


def compare(saved: Saved, served: Served, run: Run) -> tuple[float, float]:
    r"""The largest difference of an exported program from the model, and the largest one that rounding explains.

    Both compute one formula in single precision, in another order, so each is as far from the same network in double precision as its rounding
    takes it. Three bits more than the model's own distance, or than half a unit in the last place of its largest output, are taken for rounding.
    A network that cannot run in double precision is held to half of the digits of single precision.
    """
    worst = own = size = 0.0
    exact: Served | None = copy.deepcopy(served).double()
    for seed, n in enumerate(CHECKED, start=1):
        inputs = rows_like(saved, n, seed)
        with torch.no_grad():
            expected = _as_predicted(saved, served, inputs)
            found = run(inputs)
            if found.shape != expected.shape or not bool((torch.isfinite(found) & torch.isfinite(expected)).all()):
                return float("inf"), 0.0
            worst = max(worst, float((found.double() - expected).abs().max()))
            size = max(size, float((expected - served.mean).abs().max() if served.values else expected.abs().max()))
            try:
                if exact is not None:
                    double = exact(**{name: t.double() if t.is_floating_point() else t for name, t in inputs.items()})
                    own = max(own, float((double - expected).abs().max()))
            except RuntimeError:
                exact = None
    eps = torch.finfo(torch.float32).eps
    return worst, BITS * max(own, size * eps / 2) if exact is not None else size * eps**0.5


def _as_predicted(saved: Saved, served: Served, inputs: Inputs) -> Tensor:
    """What ``temperance predict`` makes of encoded rows, in double precision."""
    out = saved.outputs(whole_rows(**inputs)).double()
    return out * served.sd + served.mean if served.values else out


__all__ = ["Exported", "Served", "compare", "export", "inputs_of", "rows_like"]
