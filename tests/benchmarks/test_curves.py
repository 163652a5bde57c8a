"""Reading anytime curves, and the report and picture made of them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

from benchmarks import curves

SECONDS = 60.0


def run(arm: str, curve: list[list[float]], name: str = "one", seed: int = 0) -> dict[str, Any]:
    machine = {"cores": 2, "machine": "x86_64", "torch": "2", "optuna": "5", "date": "2026-01-02"}
    return {"set": name, "seed": seed, "arm": arm, "seconds": SECONDS, "constant": {"validation": 0.5, "test": 0.4}, "curve": curve, **machine}


def test_merging_keeps_what_improves_on_all_before() -> None:
    first, second = [[1.0, 0.5, 0.1], [5.0, 0.9, 0.2]], [[2.0, 0.5, 0.3], [3.0, 0.7, 0.4], [6.0, 0.8, 0.5]]
    assert curves.merged([first, second]) == [[1.0, 0.5, 0.1], [3.0, 0.7, 0.4], [5.0, 0.9, 0.2]]
    assert curves.merged([[[1.0, 0.5, 0.1]], [[1.0, 0.6, 0.2]]]) == [[1.0, 0.6, 0.2]]
    assert curves.merged([]) == []


def test_a_curve_is_read_at_a_time_and_before_its_first_check_it_is_the_most_frequent_class() -> None:
    one = run("tpe", [[2.0, 0.45, 0.9], [4.0, 0.6, 0.7], [8.0, 0.8, 0.75]])
    assert curves.at(one, 1.0) == (0.5, 0.4)
    assert curves.at(one, 3.0) == (0.5, 0.4)  # worse than the most frequent class: that is shipped
    assert curves.at(one, 4.0) == (0.6, 0.7)
    assert curves.at(one, 1e9) == (0.8, 0.75)
    assert curves.reached(one, 0.7) == 8.0
    assert math.isinf(curves.reached(one, 0.81))


def test_what_ships_is_the_last_entry_even_where_an_earlier_one_was_better() -> None:
    one = run("keep+average", [[2.0, 0.8, 0.9, 0.7, 3], [4.0, 0.7, 0.6, 0.7, 1]])
    assert curves.at(one, 3.0) == (0.8, 0.9) and curves.at(one, 5.0) == (0.7, 0.6)
    assert curves.label("keep+average") == "temperance, keep, averaged" and curves.label("tpe+average") == "TPE, one at a time, averaged"
    assert curves.arms_of([run(arm, []) for arm in ("rungs", "tpe", "keep", "tpe+average", "keep+average")], "keep+average") == [
        "keep+average",
        "keep",
        "tpe",
        "tpe+average",
        "rungs",
    ]


def rows() -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for seed in range(3):
        out.append(run("rungs", [[4.0 + seed, 0.7, 0.6], [6.0, 0.9, 0.8]], seed=seed))
        out.append(run("tpe", [[1.0, 0.6, 0.5], [30.0, 0.9, 0.7]], seed=seed))
        out.append(run("keep", [[2.0, 0.6, 0.5 + 0.01 * seed]], seed=seed))
    return out


def test_the_report_gives_medians_shares_and_paired_tests() -> None:
    text = curves.report(rows(), SECONDS, "rungs")
    assert "| one | temperance, rungs | 3 | 90.00 | 90.00 | 90.00 | 90.00 |" in text
    assert "| one | TPE, one at a time | 3 | 60.00 | 60.00 | 90.00 | 90.00 |" in text
    assert "Share of the 60 s: median 0.1 (reach: at most 0.2)" in text  # 6 of 60 seconds
    assert "first had that score: median 0.2." in text and "n = 3." in text  # 6 of 30 seconds
    assert "the rival's final one after a median of 0.1." in text
    assert "| validation | 60 s | +30.00 | 3 / 0 / 0 |" in text
    assert "random" not in text.replace("random, one at a time", "") and "less random" not in text


def test_a_score_that_is_never_reached_counts_as_never() -> None:
    slow = [run("rungs", [[4.0, 0.7, 0.6]]), run("tpe", [[1.0, 0.8, 0.5]])]
    assert "median never" in curves.report(slow, SECONDS, "rungs")


def test_the_picture_is_valid_svg_with_a_line_for_each_arm_and_panel() -> None:
    root = ET.fromstring(curves.picture(rows(), SECONDS, "rungs"))
    lines = [e for e in root.iter() if e.get("class", "").startswith("line ") and e.tag.endswith("path")]
    assert sorted(str(e.get("class")) for e in lines) == sorted(["line c0", "line c1", "line c2"] * 2)
    assert "over 3 runs" in "".join(root.itertext())
