"""Which strengths a search tries on images, and in which ranges: those in pixels follow the size of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temperance.core.batch import shortest_side
from temperance.core.cocktail import Cocktail
from temperance.core.registry import lookup
from temperance.core.regularizer import Regularizer
from temperance.core.strength import StrengthSpec

Asked = Sequence[str | Regularizer]


def searched(cocktail: Cocktail, x: Any, use: Asked) -> tuple[Cocktail, dict[str, StrengthSpec], dict[str, float]]:
    """What of a cocktail is searched on these inputs.

    A strength in pixels has its upper end at the same share of the side in every image, but not below its lower end, which is what is just visible. Where
    that is far too much, the images are too small, and the strength is left off unless its regularizer was asked for. What can change the
    meaning of an image (a mirror image) is left off too, unless its regularizer was asked for by name, or given with that strength on.

    Args:
        cocktail: regularizers to search over.
        x: inputs of the data.
        use: what was asked for, names or regularizers.

    Returns:
        the cocktail without regularizers of which nothing is searched, the ranges that differ from the declared ones, and the strengths that stay off.
    """
    side, ranges, fixed = shortest_side(x), dict[str, StrengthSpec](), dict[str, float]()
    for label, regularizer in cocktail.items():
        specs = regularizer.strengths()
        asked = _asked(regularizer, use)
        off = [f for f, spec in specs.items() if not (asked or spec.fits(side)) or (spec.on_request and not _asked(regularizer, use, f))]
        if specs and len(off) == len(specs):
            cocktail = cocktail.without(label)
            continue
        fixed |= {f"{label}.{field}": specs[field].off for field in off}
        ranges |= {f"{label}.{field}": spec.at(side) for field, spec in specs.items() if field not in off and spec.at(side) != spec}
    return cocktail, ranges, fixed


def _asked(regularizer: Regularizer, use: Asked, field: str | None = None) -> bool:
    """Whether a regularizer was asked for; of a field, by the name of the regularizer or by one that is given with it on."""
    for item in use:
        named = isinstance(item, str) and lookup(item) is type(regularizer)
        given = item is regularizer and (field is None or regularizer.peak(field) != regularizer.strengths()[field].off)
        if named or given:
            return True
    return False
