"""Cards, as docstrings hold them: their sections, and their markup as plain text."""

from __future__ import annotations

import inspect
import re

_ROLE = re.compile(r":(?:class|func|meth|mod|data|math|attr):`~?([^`]*)`")
_LATEX = {"phi": "φ", "sigma": "σ", "odot": "⊙", "theta": "θ", "lambda": "λ", "le": "≤", "quad": " "}
_SECTION = re.compile(r"([A-Z][A-Za-z ]{1,14})(?:, ([a-z][^:\n]{1,60}))?:(?:[ \t]+|[ \t]*\n|$)")


def card_sections(doc: str) -> dict[str, str]:
    r"""A docstring as sections: ``""`` is the summary, ``"What"``, ``"Formula"``, ``"Args"``, ... the rest; text without a name is ``"Note"``.

    Example:
        >>> card_sections("Pulls weights to zero.\n\n    When: always.\n\n    Args:\n        lam: how much.\n            Really.\n")
        {'': 'Pulls weights to zero.', 'When': 'always.', 'Args': 'lam: how much.\n    Really.'}
    """
    out: dict[str, str] = {}
    blocks = re.split(r"\n\s*\n(?=\S)", inspect.cleandoc(doc))
    for i, block in enumerate(blocks):
        found = _SECTION.match(block)
        if found is None:
            name, text = ("", block) if i == 0 else ("Note", block)
        else:
            rest = block[found.end() :]
            name, text = found[1], inspect.cleandoc("\n" + rest) if found[0].endswith("\n") else rest
            text = f"{found[2]}: {text}" if found[2] else text
        key = "Example" if name == "Examples" else name
        out[key] = f"{out[key]}\n\n{text.rstrip()}" if key in out else text.rstrip()
    return out


def readable(text: str) -> str:
    r"""Markup of docstrings as plain text, paragraphs in one line each; indented lines keep their shape.

    Example:
        >>> readable("See :class:`~temperance.nets.MLP`, with ``norm=None``\nor a norm.")
        'See MLP, with `norm=None` or a norm.'
    """
    text = re.sub(r"\.\. math::\s*", "", text)
    text = re.sub(r"\\(?:mathrm|text)\{([^}]*)\}", r"\1", text)
    text = re.sub(r"\\([a-z]+)", lambda m: _LATEX.get(m[1], m[1]), text).replace("\\,", " ")
    text = _ROLE.sub(lambda m: m[1] if m[0].startswith(":math:") else m[1].rpartition(".")[2], text).replace("``", "`")
    paragraphs: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        paragraphs.append(" ".join(block.split()))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph)
