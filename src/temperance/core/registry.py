"""All regularizers by name. The registry fills as modules of regularizers are imported; core itself imports none."""

from __future__ import annotations

import difflib
from typing import Any

from temperance.core.errors import ConfigError
from temperance.core.regularizer import Regularizer

REGISTRY: dict[str, type[Regularizer]] = {}


def lookup(name: str) -> type[Regularizer]:
    """The class of this name, in either spelling (``LabelSmoothing`` or ``label_smoothing``).

    Raises:
        ConfigError: unknown; near names are proposed.
    """
    wanted = name.replace("_", "").lower()
    for known, cls in REGISTRY.items():
        if known.lower() == wanted:
            return cls
    near = difflib.get_close_matches(wanted, [known.lower() for known in REGISTRY], n=3, cutoff=0.5)
    names = [known for known in REGISTRY if known.lower() in near] or sorted(REGISTRY)
    raise ConfigError(f"Unknown regularizer {name!r}. {'Did you mean' if near else 'Known are'} {', '.join(names)}? `temperance list` shows all.")


def rows() -> list[dict[str, Any]]:
    """The registry as plain rows: name, kind, sites, strengths, reference, catalogue row."""
    out: list[dict[str, Any]] = []
    for name, cls in sorted(REGISTRY.items()):
        strengths = {
            field: {
                "default": _plain(s.default),
                "off": _plain(s.off),
                "low": _plain(s.low),
                "high": _plain(s.high),
                "log": s.log,
                "valid": s.valid.text,
                "meaning": s.meaning,
            }
            for field, s in cls.strengths().items()
        }
        summary = (cls.__doc__ or "").strip().splitlines()
        out.append(
            {
                "name": name,
                "label": cls.default_label(),
                "kind": cls.kind,
                "sites": list(cls.sites()),
                "strengths": strengths,
                "reference": cls.reference,
                "spec": cls.spec,
                "summary": summary[0] if summary else "",
                "exceptions": dict(cls.exceptions),
            }
        )
    return out


def _plain(value: float) -> Any:
    return "inf" if value == float("inf") else value
