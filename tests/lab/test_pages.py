"""The pages of the lab: they load nothing, and their sliders move in a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import temperance as tp
from temperance.lab import Chart, Line, Slider, Verdict, experiments
from temperance.lab.page import gallery, table
from temperance.report.words import number as words_number

# Every page in a frame of its own: its slider goes through all places, and what is then seen is written down.
HARNESS = """<!doctype html><meta charset="utf-8"><pre id="seen">waiting</pre><script>
var pages = PAGES, seen = {}, left = Object.keys(pages).length;
Object.keys(pages).forEach(function (name) {
  var frame = document.createElement("iframe");
  frame.onload = function () {
    var page = frame.contentDocument, input = page.getElementById("strength"), rows = [];
    for (var k = 0; k <= +input.max; k++) {
      input.value = k;
      input.dispatchEvent(new Event("input"));
      var shown = [...page.querySelectorAll(".frame")].map((f, i) => f.hidden ? -1 : i).filter(i => i >= 0);
      rows.push([shown, page.getElementById("strength-value").textContent, input.getAttribute("aria-valuetext")]);
    }
    seen[name] = rows;
    if (!--left) document.getElementById("seen").textContent = JSON.stringify(seen);
  };
  frame.srcdoc = pages[name].replace("location.replace", "(function () {})");
  document.body.appendChild(frame);
});
</script>"""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=4000", "--dump-dom"]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")


@cache
def verdict(name: str) -> Verdict:
    """One run for all tests of this file."""
    return tp.lab.run(name, quick=True, seeds=[0])


def dumped(path: Path, state: str = "") -> str:
    """The document after its scripts ran."""
    command = [str(CHROMIUM), *FLAGS, f"file://{path}{state}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def shown(dom: str) -> list[int]:
    """Which frames are visible."""
    return [k for k, tag in enumerate(re.findall(r'<figure class="lab frame"[^>]*>', dom)) if "hidden" not in tag]


def test_a_page_has_all_parts_and_loads_nothing() -> None:
    kind = experiments()["quadratic_steps"]
    text = verdict("quadratic_steps").page()
    for part in (kind.question, kind.claim, kind.source, kind.expect, kind.control, kind.next, kind.limits):
        assert html.escape(part, quote=False).replace("'", "&#39;") in text
    assert "class QuadraticSteps(Experiment)" in text and "Holds" in text
    assert text.index(kind.expect) < text.index("Verdict")
    for loaded in ("http://", "https://", "//cdn", "@import", "url(", "src="):
        assert loaded not in text
    assert re.findall(r'<(?:a|link)[^>]*href="([^"]*)"', text) == ["index.html"]


def test_text_is_escaped() -> None:
    chart = Chart("x < 1", "y & z", [Line("<b>", [0, 1], [1, 2]), Line("two", [0, 1], [2, 1])], note="<i>")
    found = verdict("quadratic_steps")
    changed = Verdict("a", found.numbers, found.control, found.rules, 0.0, [0], found.experiment, chart)
    text = changed.page()
    assert "<b>" not in text.replace("<b>Decide first</b>", "").replace("<b>Verdict</b>", "").replace("<b>Control</b>", "") and "<i>" not in text
    assert "&lt;b&gt;" in text and "y &amp; z" in text


def test_names_between_backticks_are_code() -> None:
    found = verdict("quadratic_steps")

    class Named(type(found.experiment)):
        next = "`u_curve` for <any> strength."

    changed = Verdict("a", found.numbers, found.control, found.rules, 0.0, [0], Named(quick=True, data=None), found.drawing)
    assert "<p><code>u_curve</code> for &lt;any&gt; strength.</p>" in changed.page()


def test_notes_and_legends_have_numbers_as_readers_write_them() -> None:
    found = verdict("quadratic_steps")
    chart = Chart("x", "y", [Line("size 1e-06", [0, 1], [1, 2]), Line("`lam` = 2", [0, 1], [2, 1])], note="`lr=1e-3` leaves -0.5, 12%.")
    text = Verdict("a", found.numbers, found.control, found.rules, 0.0, [0], found.experiment, chart).page()
    assert "size 10⁻⁶</li>" in text and "<code>lam</code> = 2</li>" in text
    assert "<figcaption><code>lr=1e-3</code> leaves −0.5, 12\u00a0%.</figcaption>" in text


def test_a_rule_reads_well_after_a_number_that_has_a_value_in_its_name() -> None:
    assert tp.lab.every("share, c = 0.25", ">", 0.5).text == "share, c = 0.25: above 0.5 in every seed"
    assert tp.lab.on_average("κ gained", "<", 0.0).text == "κ gained: below 0 on average, with its whole 95 % interval"
    rules = [tp.lab.verdict.Judged(tp.lab.every("κ gained", "<", 1.0), True, False)]
    found = verdict("quadratic_steps")
    assert "<p>κ gained: below 1 in every seed: yes" in Verdict("a", found.numbers, found.control, rules, 0.0, [0], found.experiment, found.drawing).page()


def test_a_notebook_shows_the_verdict() -> None:
    text = verdict("quadratic_steps")._repr_html_()
    assert "<svg" in text and "Holds" in text and "<script" not in text


def test_the_gallery_shows_every_verdict_and_names_what_fails() -> None:
    good = verdict("quadratic_steps")
    text = gallery([good])
    assert 'href="quadratic_steps.html"' in text and "<svg" in text and "All hold" in text and "http" not in text
    assert re.findall(r'href="#([^"]*)"', text) == re.findall(r'<section id="([^"]*)"', text) == ["optimization"]
    bad = Verdict("other", good.numbers, good.numbers, [tp.lab.verdict.Judged(good.rules[0].rule, True, True)], 0.0, [0], good.experiment, good.drawing)
    assert "Not so: other." in gallery([good, bad]) and "Undecided" in gallery([bad])


def test_the_table_has_one_row_an_experiment() -> None:
    rows = [line for line in table(experiments()).splitlines() if line.startswith("| `")]
    assert sorted(line.split("`")[1] for line in rows) == sorted(experiments())
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}


def test_charts_on_common_axes_and_odd_numbers() -> None:
    charts = [Chart("x", "y", [Line("a", [0, 1], [0, top])]) for top in (1.0, 10.0)]
    from temperance.lab.chart import drawn

    one, two = drawn(Slider("λ", "lam", [1, 2], charts))
    ticks = [re.findall(r'class="tick" text-anchor="end">([^<]*)<', d.wide) for d in (one, two)]
    assert ticks[0] == ticks[1] and "10" in ticks[0]
    odd = Chart("x", "y", [Line("a", [1.0, float("nan"), 3.0], [float("inf"), 1.0, -2.0]), Line("b", [1, 2], [0, 1], "bars")], log_y=True)
    assert "nan" not in odd.svg(720) and "inf" not in odd.svg(720)
    with pytest.raises(ValueError, match="one chart for each"):
        Slider("λ", "lam", [1, 2], charts[:1])


def test_the_legend_stays_where_a_slider_moves_to_a_chart_of_one_line() -> None:
    found, one, two = verdict("quadratic_steps"), Line("a", [0, 1], [0, 1]), Line("b", [0, 1], [1, 0])
    for charts, legends in (([[one], [one, two]], 2), ([[one], [one]], 0)):
        figure = Slider("λ", "lam", [1, 2], [Chart("x", "y", lines) for lines in charts])
        page = Verdict("a", found.numbers, found.control, found.rules, 0.0, [0], found.experiment, figure).page()
        assert page.count('<ul class="legend">') == legends


def test_names_that_have_no_room_beside_each_other_stand_on_two_lines() -> None:
    names = ["plain descent", "momentum", "Nesterov", "delta-bar-delta"]
    chart = Chart("optimizer", "loss", [Line("a", range(4), range(4))], names=names)
    heights = {}
    for width in (720, 350):
        found = re.findall(r'y="([0-9.]+)" class="(?:tick|title)" text-anchor="(?:middle|end)">([^<]+)<', chart.svg(width))
        heights[width] = {text: float(y) for y, text in found}
    assert len({heights[720][name] for name in names}) == 1
    assert heights[350]["plain descent"] == heights[350]["Nesterov"] < heights[350]["momentum"] == heights[350]["delta-bar-delta"] < heights[350]["optimizer"]


def test_a_number_in_the_table_is_not_divided() -> None:
    found = verdict("quadratic_steps")
    numbers = {"gap": [1.5e-9, 2.5e-9], "alike": [1.00001, 1.00002]}
    rules = [tp.lab.verdict.Judged(tp.lab.on_average("gap", "<", 1.0), True, False)]
    text = Verdict("a", numbers, numbers, rules, 0.0, [0, 1], found.experiment, found.drawing).page()
    assert "2\u00a0×\u00a010⁻⁹</td>" in text and "(95\u00a0%)" in text
    assert re.search(r'>alike</th><td class="num">1</td><td class="num">–</td>', text)


@needs_chromium
def test_the_address_holds_the_state_of_a_slider(tmp_path: Path) -> None:
    found = verdict("quadratic_steps")
    assert isinstance(found.drawing, Slider)
    path = tmp_path / "page.html"
    path.write_text(found.page(), encoding="utf-8")
    last = len(found.drawing.values) - 1
    assert shown(dumped(path)) == [found.drawing.start]
    assert shown(dumped(path, "#lr=0.035")) == [last] and shown(dumped(path, "#lr=0.0051")) == [0]
    assert shown(dumped(path, "#lr=none")) == [found.drawing.start]


@needs_chromium
@pytest.mark.parametrize("slow", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_slider_moves_every_chart(slow: bool, tmp_path: Path, quick: Callable[[str], Verdict]) -> None:
    drawings = {name: quick(name).drawing for name, kind in experiments().items() if kind.slow == slow}
    sliders = {name: figure for name, figure in drawings.items() if isinstance(figure, Slider)}
    found = verdict("quadratic_steps")
    pages = {}
    for name, figure in sliders.items():
        charts = [Chart(c.x, c.y, c.lines[:1], c.log_x, c.log_y, c.names) for c in figure.charts]  # smaller pages
        small = Slider(figure.label, figure.key, figure.values, charts, figure.start)
        pages[name] = Verdict(name, found.numbers, found.control, found.rules, 0.0, [0], found.experiment, small).page()
    path = tmp_path / "harness.html"
    path.write_text(HARNESS.replace("PAGES", json.dumps(pages).replace("</", "<\\/")), encoding="utf-8")
    seen = json.loads(html.unescape(re.findall(r'<pre id="seen">(.*?)</pre>', dumped(path), re.DOTALL)[0]))
    assert set(seen) == set(sliders) and (slow or len(sliders) > 10)
    for name, figure in sliders.items():
        words = [words_number(value) for value in figure.values]
        assert seen[name] == [[[k], word, word] for k, word in enumerate(words)], name


def test_pictures_stand_below_the_axes_and_are_part_of_the_page() -> None:
    lines, images = [Line("a", [0, 1], [0, 1])], [[[0.0, 1.0], [1.0, 0.0]]] * 12
    plain, shown_below = Chart("x", "y", lines), Chart("x", "y", lines, pictures=[("some <images>", images), ("filters", [[[-1.0, 1.0]]])])
    text = shown_below.svg(720)
    assert text.count("data:image/png;base64,") == 10 + 1 and "some &lt;images&gt;" in text and "image" not in plain.svg(720)
    heights = [float(re.findall(r'viewBox="0 0 720 ([0-9.]+)"', chart.svg(720))[0]) for chart in (plain, shown_below)]
    lowest = max(float(y) + float(h) for y, h in re.findall(r'<image [^>]*y="([0-9.]+)" width="[0-9.]+" height="([0-9.]+)"', text))
    assert heights[0] < lowest <= heights[1]
