"""An ordered list of regularizers, as one value."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from temperance.core.errors import ConfigError, expected
from temperance.core.files import write_whole
from temperance.core.registry import lookup
from temperance.core.regularizer import Regularizer
from temperance.core.schedule import Schedule
from temperance.core.shown import in_notebook
from temperance.core.strength import StrengthSpec

if TYPE_CHECKING:
    from temperance.core.attach import Attached


class Cocktail:
    """Regularizers folded in list order (``around`` nests outermost first); cocktails may hold cocktails.

    A cocktail stores plain numbers; it becomes tensors when a network trains with it. It is immutable.

    Args:
        items: regularizers or cocktails.

    Example:
        >>> import temperance as tp
        >>> cocktail = tp.Cocktail(tp.L2(1e-4), tp.Dropout(0.2))
        >>> cocktail
        Cocktail(L2(lam=0.0001), Dropout(rate=0.2, input_rate=0.0))
        >>> cocktail.strengths()
        {'l2.lam': 0.0001, 'dropout.rate': 0.2, 'dropout.input_rate': 0.0}
    """

    regularizers: tuple[Regularizer, ...]
    labels: tuple[str, ...]

    def __init__(self, *items: Regularizer | Cocktail) -> None:
        flat: list[Regularizer] = []
        for item in items:
            if isinstance(item, Cocktail):
                flat.extend(item.regularizers)
            elif isinstance(item, Regularizer):  # pyright: ignore[reportUnnecessaryIsInstance] -- the message for callers without types
                flat.append(item)
            else:
                raise ConfigError(expected("items", "Cocktail", "to be regularizers or cocktails", item, "`temperance list` shows them."))
        labels: list[str] = []
        for regularizer in flat:
            label, n = regularizer.label, 2
            if regularizer.name is not None and label in labels:
                raise ConfigError(f"Two regularizers of the cocktail are named {label!r}. Give each a name of its own.")
            while label in labels:
                label, n = f"{regularizer.label}_{n}", n + 1
            labels.append(label)
        self.regularizers, self.labels = tuple(flat), tuple(labels)

    def __len__(self) -> int:
        return len(self.regularizers)

    def __iter__(self) -> Iterator[Regularizer]:
        return iter(self.regularizers)

    def __getitem__(self, label: str) -> Regularizer:
        if label not in self.labels:
            raise ConfigError(f"The cocktail has no regularizer {label!r}. It has {', '.join(self.labels) or 'none'}.")
        return self.regularizers[self.labels.index(label)]

    def __repr__(self) -> str:
        return f"Cocktail({', '.join(map(repr, self.regularizers))})"

    def _repr_html_(self) -> str:
        return in_notebook(self, "cocktail")

    def items(self) -> Iterator[tuple[str, Regularizer]]:
        """Pairs of label and regularizer."""
        return zip(self.labels, self.regularizers, strict=True)

    def specs(self) -> dict[str, StrengthSpec]:
        """The declaration of every strength, as ``label.field``."""
        return {f"{label}.{field}": spec for label, r in self.items() for field, spec in r.strengths().items()}

    def strengths(self) -> dict[str, float]:
        """Every strength, as ``label.field``; of a schedule, its peak."""
        out: dict[str, float] = {}
        for label, regularizer in self.items():
            for field, value in regularizer.values().items():
                out[f"{label}.{field}"] = float(value.value) if isinstance(value, Schedule) else value
        return out

    def with_strengths(self, values: Mapping[str, Any]) -> Cocktail:
        """A copy with these strengths (``label.field``); schedules keep their shape.

        Raises:
            ConfigError: no such strength, or a value out of range.
        """
        strange = sorted(set(values) - set(self.specs()))
        if strange:
            raise ConfigError(f"The cocktail has no strength {strange[0]!r}. It has {', '.join(self.specs()) or 'none'}.")
        out: list[Regularizer] = []
        for label, regularizer in self.items():
            changes: dict[str, Any] = {}
            for field, old in regularizer.values().items():
                if f"{label}.{field}" in values:
                    new = values[f"{label}.{field}"]
                    changes[field] = old.with_value(new) if isinstance(old, Schedule) and not isinstance(new, Schedule) else new
            out.append(regularizer.replace(**changes) if changes else regularizer)
        return self._relabel(out)

    def _relabel(self, regularizers: Sequence[Regularizer]) -> Cocktail:
        made = Cocktail.__new__(Cocktail)
        made.regularizers, made.labels = tuple(regularizers), self.labels
        return made

    def without_off(self) -> Cocktail:
        """Those that are not off, under the labels they have here.

        Example:
            >>> import temperance as tp
            >>> tp.Cocktail(tp.L2(0.0), tp.L1(0.1)).without_off()
            Cocktail(L1(lam=0.1))
        """
        return self._only([label for label, r in self.items() if not r.is_off()])

    def off(self) -> Cocktail:
        """The same program with every strength at its off value: the control of every comparison."""
        return self.with_strengths({name: spec.off for name, spec in self.specs().items()})

    def without(self, label: str) -> Cocktail:
        """A copy that lacks one regularizer; the others keep their labels, hence their random numbers."""
        _ = self[label]
        return self._only([one for one in self.labels if one != label])

    def _only(self, labels: Sequence[str]) -> Cocktail:
        kept = [(one, r) for one, r in self.items() if one in labels]
        made = Cocktail.__new__(Cocktail)
        made.regularizers, made.labels = tuple(r for _, r in kept), tuple(one for one, _ in kept)
        return made

    def grid(self, **values: Any) -> list[Cocktail]:
        """One cocktail for every combination of the given strengths: the members of a population.

        Args:
            values: ``label__field=numbers``; a list, an array or a tensor.

        Example:
            >>> import temperance as tp
            >>> [c.strengths()["l2.lam"] for c in tp.Cocktail(tp.L2()).grid(l2__lam=[1e-4, 1e-2])]
            [0.0001, 0.01]
        """
        names = [name.replace("__", ".") for name in values]
        columns = [[v if isinstance(v, Schedule) else float(v) for v in column] for column in values.values()]
        return [self.with_strengths(dict(zip(names, row, strict=True))) for row in itertools.product(*columns)]

    def static(self) -> tuple[Any, ...]:
        """What shapes the program: cocktails that share it train as one batched program.

        Whether a regularizer that makes extra passes is off belongs to it, so that a member without one never pays for it.
        """
        return tuple((label, r.static(), r.is_off() if "around" in r.sites() else None) for label, r in self.items())

    def active(self) -> Cocktail:
        """A copy without the regularizers that make extra passes and are off; the others keep their labels."""
        out = self
        for label, regularizer in self.items():
            if "around" in regularizer.sites() and regularizer.is_off():
                out = out.without(label)
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"cocktail": [{"label": label, **r.to_dict()} for label, r in self.items()]}

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, also written to ``path`` if one is given."""
        return json_text(self.to_dict(), path)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Cocktail:
        """The inverse of :meth:`to_dict`.

        Raises:
            ConfigError: not a cocktail, an unknown regularizer, or a value out of range.
        """
        if "cocktail" not in data or not isinstance(data["cocktail"], list):
            raise ConfigError("Expected a cocktail file with a list `cocktail`, as written by Cocktail.to_json.")
        regularizers: list[Regularizer] = []
        labels: list[str] = []
        entries: list[dict[str, Any]] = data["cocktail"]
        for entry in entries:
            if not isinstance(entry, dict):  # pyright: ignore[reportUnnecessaryIsInstance] -- parsed JSON
                raise ConfigError(f"Expected the entries of `cocktail` in a cocktail file to be JSON objects, got {str(entry)[:60]!r}.")
            fields = {k: v for k, v in entry.items() if k not in ("label", "regularizer")}
            try:
                regularizer = lookup(str(entry.get("regularizer"))).from_dict(fields)
            except ConfigError:
                raise
            except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
                raise ConfigError(f"Expected a regularizer in a cocktail file as Cocktail.to_json writes it, got other fields: {error}.") from None
            regularizers.append(regularizer)
            labels.append(str(entry.get("label", regularizer.label)))
        made = Cocktail(*regularizers)
        if len(set(labels)) != len(labels):
            raise ConfigError(f"Expected the labels of a cocktail file to differ, got {labels}.")
        made.labels = tuple(labels)
        return made

    @staticmethod
    def from_json(source: str | Path) -> Cocktail:
        """A cocktail from JSON text or from a file.

        Raises:
            ConfigError: no such file, not JSON, or not a cocktail.
        """
        text = str(source)
        if not text.lstrip().startswith("{"):
            path = Path(source)
            if not path.is_file():
                raise ConfigError(f"Expected JSON text or a file of a cocktail, got {text!r}, which is no file.")
            text = path.read_text(encoding="utf-8")
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"Expected a cocktail as JSON, got text that is not JSON: {error}.") from None
        return Cocktail.from_dict(data)

    def describe(self, model: nn.Module, rows: int | None = None, noise: float | None = None, example: Any = None) -> str:
        """Every parameter and hidden site of the network with what acts on it, as text; see :func:`temperance.core.describe.describe`."""
        from temperance.core.describe import describe

        return describe(self, model, rows, noise, example)

    def attach(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: Any,
        *,
        seed: int = 0,
        total_steps: int | None = None,
        input_scale: Any = None,
        target_scale: Any = None,
        num_classes: int | None = None,
    ) -> Attached:
        """Use the cocktail in your own loop; the arguments and what is raised are those of :func:`temperance.core.attach.attach`.

        Example:
            >>> import torch
            >>> import temperance as tp
            >>> net = torch.nn.Linear(4, 3)
            >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            >>> reg = tp.Cocktail(tp.L1(1e-3)).attach(net, optimizer, torch.nn.CrossEntropyLoss())
            >>> reg.loss(torch.zeros(5, 4), torch.tensor([0, 1, 2, 0, 1])).backward()
            >>> optimizer.step()
            >>> reg.detach()
        """
        from temperance.core.attach import attach

        scales = {"input_scale": input_scale, "target_scale": target_scale}
        return attach(self, model, optimizer, criterion, seed=seed, total_steps=total_steps, num_classes=num_classes, **scales)


def json_text(data: Mapping[str, Any], path: str | Path | None = None) -> str:
    """Plain values as JSON text, also written to ``path`` if one is given.

    Example:
        >>> print(json_text({"lam": 0.5}))
        {
         "lam": 0.5
        }
    """
    text = json.dumps(data, indent=1, allow_nan=False)
    if path is not None:
        write_whole(path, text + "\n")
    return text
