"""What a search has to say of its ranges and of the lengths of its runs, once it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temperance.search.engine import Engine

SHORT = 0.6  # of the epochs that are advised, below which it is said


def told(engine: Engine) -> list[str]:
    """Sentences, without an end, on ranges that were widened, and on full runs that were shortened or lengthened."""
    out: list[str] = []
    for name, proposer in engine.proposers.items():
        wider = ", ".join(f"{strength} to {spec.high:.3g}" for strength, spec in proposer.widened.items())
        if wider:
            out.append(f"the best trials of {name} lay at the end of a range, which was widened: {wider}")
    shown = [] if engine.few is not None else engine.tried
    if short := [f"{p.name} {engine.planned(p):.0f} of {p.epochs:g}" for p in shown if engine.planned(p) < SHORT * p.epochs]:
        out.append(f"for the budget, full runs are shorter than advised: {', '.join(short)} epochs; a longer budget may do better")
    if longer := [f"{p.name} {engine.epochs[p.name]:.0f} in place of {engine.planned(p):.0f}" for p in shown if engine.epochs[p.name] > engine.planned(p)]:
        out.append(f"the best trials were at their best at the end of a full run, so that later ones were longer: {', '.join(longer)} epochs")
    return out
