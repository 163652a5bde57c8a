"""Everything that has a name, as rows: the registry of regularizers, and what stands around them."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from temperance.core.errors import ConfigError

KINDS = ("regularizer", "protocol", "optimizer", "schedule", "network", "loss")
LISTED = ("name", "kind", "sites", "strengths", "reference", "spec")


@dataclass(frozen=True)
class Entry:
    """Something with a name that is no regularizer.

    Attributes:
        name: as it is written.
        kind: one of :data:`KINDS`.
        spec: the row of the catalogue it fills.
        home: ``module:attribute`` whose docstring explains it; empty where ``text`` does.
        reference: author, year; the class's own where it has one.
        text: the explanation, where there is no class of that name.
    """

    name: str
    kind: str
    spec: str
    home: str = ""
    reference: str = ""
    text: str = ""

    def row(self) -> dict[str, Any]:
        """The entry with the keys of a row of the registry, and its docstring as ``card``."""
        card, reference = self.text, self.reference
        if self.home:
            module, _, attribute = self.home.partition(":")
            made = getattr(importlib.import_module(module), attribute)
            card = made.__doc__ or ""
            reference = getattr(made, "reference", "") or reference
        summary = " ".join(card.strip().split("\n\n")[0].split())
        reference = re.sub(r",(?= \d{4})", "", reference)
        return {"name": self.name, "kind": self.kind, "sites": [], "strengths": {}, "reference": reference, "spec": self.spec, "summary": summary, "card": card}


_RETRAIN = """{what}

When: the stopping point was found on validation rows, and these are to be learned from too.

Usage: ``tp.fit(..., retrain="{name}")``; a search retrains its winner with ``same_epochs``.

Reference: Goodfellow et al. (2016), Deep learning, section 7.8.
"""
_GOODFELLOW = "Goodfellow et al. 2016"

ENTRIES: tuple[Entry, ...] = (
    Entry("EarlyStopping", "protocol", "6 early stopping", "temperance.train.stopping:EarlyStopping", "Prechelt 1998"),
    Entry(
        "same_epochs",
        "protocol",
        "6 retraining",
        reference=_GOODFELLOW,
        text=_RETRAIN.format(name="same_epochs", what="Trains anew on all rows, for as many passes over them as the best state had made."),
    ),
    Entry(
        "same_steps",
        "protocol",
        "6 retraining",
        reference=_GOODFELLOW,
        text=_RETRAIN.format(name="same_steps", what="Trains anew on all rows, for as many steps as the best state had made."),
    ),
    Entry(
        "until_train_loss",
        "protocol",
        "6 retraining",
        reference=_GOODFELLOW,
        text=_RETRAIN.format(
            name="until_train_loss",
            what="Goes on from the best state with all rows, until the loss on the former validation rows falls to the training loss there; capped, as that "
            "may never happen.",
        ),
    ),
    Entry("bagging", "protocol", "5 bagging", "temperance.train.bagging:bootstrap", "Breiman 1996"),
    Entry("folds", "protocol", "8 validation", "temperance.train.bagging:folds", "Stone 1974"),
    Entry("SGD", "optimizer", "7 SGD, momentum", "temperance.train.optimizers:SGD"),
    Entry("Adam", "optimizer", "7 Adam", "temperance.train.optimizers:Adam"),
    Entry("AdamW", "optimizer", "7 AdamW", "temperance.train.optimizers:AdamW"),
    Entry("Constant", "schedule", "7 schedules", "temperance.core.schedule:Constant"),
    Entry("Cosine", "schedule", "7 schedules", "temperance.core.schedule:Cosine", "Loshchilov & Hutter 2017"),
    Entry("FlatCosine", "schedule", "7 schedules", "temperance.core.schedule:FlatCosine"),
    Entry("Linear", "schedule", "7 schedules", "temperance.core.schedule:Linear"),
    Entry("Restarts", "schedule", "7 schedules", "temperance.core.schedule:Restarts", "Loshchilov & Hutter 2017"),
    Entry("WarmUp", "schedule", "7 schedules", "temperance.core.schedule:WarmUp", "Goyal et al. 2017"),
    Entry("MLP", "network", "4 networks", "temperance.nets:MLP", "Rumelhart, Hinton & Williams 1986"),
    Entry("TabularNet", "network", "4 networks", "temperance.nets:TabularNet", "Gorishniy et al. 2021, 2022"),
    Entry("ConvNet", "network", "4 tying and sharing", "temperance.nets:ConvNet", "LeCun et al. 1998"),
    Entry("RecurrentNet", "network", "4 tying and sharing", "temperance.nets:RecurrentNet", "Hochreiter & Schmidhuber 1997; Cho et al. 2014"),
    Entry("MultiHead", "network", "4 multi-task", "temperance.nets:MultiHead", "Caruana 1997"),
    Entry("TwoHeads", "network", "4 multi-task", "temperance.nets:TwoHeads", "Caruana 1997"),
    Entry("Average", "network", "5 seeds", "temperance.nets.average:Average", "Hansen & Salamon 1990"),
    Entry(
        "BatchNorm",
        "network",
        "4 batch norm",
        reference="Ioffe & Szegedy 2015",
        text="""Normalizes every hidden unit by its mean and variance over the minibatch, then scales and shifts it by learned numbers.

What: a choice of the network, not a regularizer with a strength: off means that the layer is not there.

When: deep networks and large learning rates. Its noise over minibatches regularizes a little by itself.

Composes: with averages of the weights (EMA, SWA) its statistics are estimated anew before any score.

Usage: ``norm="batch"`` of MLP, TabularNet and ConvNet.

Reference: Ioffe & Szegedy (2015), Batch normalization: Accelerating deep network training by reducing internal covariate shift.
""",
    ),
    Entry("SoftmaxCrossEntropy", "loss", "4 losses", "temperance.core.criterion:SoftmaxCrossEntropy"),
    Entry("SigmoidCrossEntropy", "loss", "4 losses", "temperance.core.criterion:SigmoidCrossEntropy"),
    Entry("SquaredError", "loss", "4 losses", "temperance.core.criterion:SquaredError"),
    Entry("Heads", "loss", "4 multi-task", "temperance.core.criterion:Heads", "Caruana 1997"),
)


def rows() -> list[dict[str, Any]]:
    """Everything, grouped by kind; each row has name, kind, sites, strengths, reference, spec, summary and card.

    Example:
        >>> sorted({row["kind"] for row in rows()}) == sorted(KINDS)
        True
    """
    from temperance.core.registry import REGISTRY
    from temperance.core.registry import rows as registered

    importlib.import_module("temperance.regularizers")
    found = [{**row, "card": REGISTRY[row["name"]].__doc__ or ""} for row in registered()]
    found += [entry.row() for entry in ENTRIES]
    return sorted(found, key=lambda row: KINDS.index(row["kind"]) if row["kind"] in KINDS else len(KINDS))


def as_listed(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the keys of ``list --json`` alone."""
    keys = ("default", "off", "low", "high", "log")
    return [
        {**{key: row[key] for key in LISTED}, "strengths": {field: {key: s[key] for key in keys} for field, s in row["strengths"].items()}} for row in found
    ]


def find(name: str) -> dict[str, Any]:
    """The row of this name, in either spelling (``LabelSmoothing`` or ``label_smoothing``).

    Raises:
        ConfigError: unknown; near names are proposed.

    Example:
        >>> find("early_stopping")["kind"]
        'protocol'
    """
    found = {_plain(row["name"]): row for row in rows()}
    if _plain(name) in found:
        return found[_plain(name)]
    near = difflib.get_close_matches(_plain(name), list(found), n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(found[other]['name'] for other in near)}? " if near else ""
    raise ConfigError(f"Expected NAME to be an entry of the list, got {name!r}. {hint}`temperance list` shows all.")


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").replace(" ", "").lower()
