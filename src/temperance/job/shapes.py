"""What the JSON files of a fit hold. A folder may come from anybody, so every value is checked before anything is made of it."""

from __future__ import annotations

from temperance.core.schema import Check, either, flag, items, mapping, maybe, nothing, number, one_of, plain, record, text, whole
from temperance.train.recipe import NETWORKS, TASKS

MOST_NETWORKS = 1_000
MOST_LAYERS = 1_000
MOST_COLUMNS = 200_000
MOST_THREADS = 1_024
_COUNT, _POSITIVE = whole(0, 2**53), number(above=0.0)
_SHARE = number(-1e-9, 1 + 1e-9)
_NAME = text(10_000)
_NAMES = items(_NAME, most=MOST_COLUMNS)

_FORM = record({}, {"decimal": one_of(".", ","), "thousands": one_of("", ",", ".", " ", "'"), "unit": text(20)})
_ORDER = one_of("", "dayfirst", "monthfirst")
_WRITTEN: dict[str, Check] = {"form": _FORM, "order": _ORDER}
_COLUMN = record(
    {
        "name": _NAME,
        "kind": one_of("number", "category", "date", "boolean", "ignored"),
        "notes": text(),
        "n_missing": _COUNT,
        "n_unique": _COUNT,
        "example": text(),
    },
    _WRITTEN,
)
_NUMBER = record(
    {"name": _NAME, "date": flag, "median": number(), "mean": number(), "scale": _POSITIVE, "indicator": flag},
    {**_WRITTEN, "limit": _POSITIVE, "often": items(number())},
)
_CATEGORY = record({"name": _NAME, "boolean": flag, "levels": items(text())})
_SEEN = record({"missing": _SHARE, "common": _SHARE}, {"new": _SHARE})
TABLE = record(
    {
        "by_position": flag,
        "columns": items(_COLUMN, most=MOST_COLUMNS),
        "numeric": items(_NUMBER, most=MOST_COLUMNS),
        "categorical": items(_CATEGORY, most=MOST_COLUMNS),
    },
    {"na": maybe(_NAMES), "seen": mapping(_SEEN, MOST_COLUMNS)},
)
_CHANNELS = items(number(), 1, 4)
IMAGES = record(
    {
        "shape": items(whole(1, 1 << 16), 3, 3),
        "mean": _CHANNELS,
        "sd": items(_POSITIVE, 1, 4),
        "values": items(number(), 2, 2),
    }
)
TARGET = record(
    {
        "task": one_of(*TASKS),
        "name": _NAME,
        "label_type": one_of("", "bool", "int", "float", "str"),
        "names": items(_NAME, 1, MOST_COLUMNS),
        "classes": items(either(text(), flag, whole(-(2**64), 2**64), number())),
        "mean": items(number()),
        "sd": items(_POSITIVE),
    }
)
_LAYERS: dict[str, Check] = {
    "hidden": either(whole(1, 10**7), items(whole(1, 10**7), most=MOST_LAYERS)),
    "channels": items(whole(1, 10**7), 1, MOST_LAYERS),
    "layers": whole(1, MOST_LAYERS),
    "branches": whole(0, MOST_LAYERS),
}
NETWORK = record({"network": one_of(*NETWORKS), "arguments": record({}, _LAYERS, others=True)})
BACKBONE = record({"source": text(4_096), "features": whole(1, 10**7), "probe": items(number(), 1, 100)})
MODEL = record(
    {
        "networks": items(either(nothing, NETWORK), 1, MOST_NETWORKS),
        "average": maybe(items(whole(0, MOST_NETWORKS - 1), 1, MOST_NETWORKS)),
        "source": maybe(text(4_096)),
        "task": one_of(*TASKS),
        "encoder": either(TABLE, plain),
        "target": TARGET,
    },
    {"backbone": BACKBONE},
    others=True,
)
_STRENGTHS = mapping(either(one_of("inf"), number()), 10_000)
TRIAL = record(
    {
        "trial": _COUNT,
        "plan": _NAME,
        "status": text(),
        "strengths": _STRENGTHS,
        "learning_rate": _POSITIVE,
        "seed": whole(0, 2**64),
        "length": _POSITIVE,
        "steps": whole(0, 10**9),
        "score": maybe(either(one_of("inf", "-inf"), number())),
    },
    {"planned_steps": whole(0, 10**9), "checked": _COUNT, "compiled": flag},
    others=True,
)
SUMMARY = record({"search": record({"table": items(TRIAL)}, others=True)}, others=True)
_TEXTS = items(_NAME, most=MOST_COLUMNS)
_RUN: dict[str, Check] = {
    "target": maybe(either(_NAME, _TEXTS)),
    "test": maybe(_NAME),
    "ignore": _TEXTS,
    "weight": maybe(_NAME),
    "task": maybe(text(100)),
    "metric": maybe(text(100)),
    "model": maybe(text(4_096)),
    "without": _TEXTS,
    "use": items(either(_NAME, record({"regularizer": _NAME}, others=True)), most=1_000),
    "seed": whole(0, 2**64),
    "threads": whole(1, MOST_THREADS),
    "source": maybe(text(4_096)),
    "memory": either(text(100), whole(1, 2**63)),
    "budget": maybe(text(100)),
    "trials": maybe(_COUNT),
    "data": text(100),
}
_LATER: dict[str, Check] = {
    "na": maybe(_NAMES),
    "dates": maybe(text(100)),
    "keep": _TEXTS,
    "space": maybe(text(100)),
    "group": maybe(_NAME),
    "time": maybe(_NAME),
    "rows": text(100),
    "saw_test": flag,
    "device": text(100),
    "precision": text(100),
    "backbone": maybe(text(4_096)),
}
RUN = record(_RUN, _LATER, others=True)  # what a replay reads
NOTED = record({}, {**_RUN, **_LATER}, others=True)
