"""The parts of the report for images: one picture each, escaped, with n, and absent where nothing is known."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from tests.report import example
from tests.report.test_page import Reader

from temperance.report import confusion
from temperance.report.page import render
from temperance.report.pictures import Pictures, filter_png, png


def decoded(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def facts(classes: int = 3) -> dict[str, object]:
    names = ["<b>cat</b>", *[f"class {k}" for k in range(1, classes)]]
    counts = [[50 - k if i == j else (i + j) % 3 for j in range(classes)] for i, k in zip(range(classes), range(classes), strict=True)]
    worst = [{"row": 3, "name": "a/<i>.png", "label": names[0], "prediction": names[1], "confidence": 0.97}]
    bins = [{"low": 0.4, "high": 0.47, "n": 5, "confidence": 0.45, "right": 0.4}, {"low": 0.93, "high": 1.0, "n": 145, "confidence": 0.97, "right": 0.9}]
    return {
        **example.summary(8),
        "samples": {"changed_by": ["Affine", "MixUp"], "mixed": True, "images": 2, "labels": names[:2]},
        "filters": {"layer": "hidden.0.linear", "n": 9, "variation": {"with": 0.5, "without": 0.7}},
        "errors": {"n": 150, "wrong": 7, "worst": worst},
        "confusion": {"classes": names, "counts": counts},
        "calibration": {"n": 150, "bins": bins, "ece": 0.07, "tempered": {"temperature": 1.5, "ece": 0.02, "bins": bins}},
    }


def pictures(channels: int = 1) -> Pictures:
    rng = np.random.default_rng(0)
    bytes_ = rng.integers(0, 256, (2, channels, 5, 4), dtype=np.uint8)
    weights = rng.normal(size=(4, channels, 5, 4))
    return Pictures(bytes_, np.stack([bytes_, 255 - bytes_], 1), {"with": weights, "without": -weights}, bytes_[:1])


def test_pictures_are_the_pixels() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(1, 3, 4) * 20
    assert np.array_equal(decoded(png(gray))[..., 1], gray[0])
    color = np.zeros((3, 2, 2), np.uint8)
    color[0], color[2, 0] = 200, 90
    assert np.array_equal(np.moveaxis(decoded(png(color)), 2, 0), color)
    shades = decoded(filter_png(np.array([[[1.0, 0.0], [-1.0, 0.5]]])))
    assert shades[0, 0].tolist() == [15, 84, 98] and shades[0, 1].tolist() == [247, 245, 240] and shades[1, 0].tolist() == [184, 96, 15]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_part_is_there_with_its_n(channels: int) -> None:
    page = render(dict(facts()), None, pictures(channels))
    reader = Reader(page)
    for words in (
        "n = 2 training images. First column: as it is. The others: as Affine and MixUp with the winner's strengths changed it in 2 steps.",
        "Where two images are mixed, the labels are mixed with them.",
        "with the cocktail: total variation 0.500",
        "n = 9 filters of hidden.0.linear; shown are the 4 with the largest norm",
        "n = 150 test images, 7 of them wrong; shown are the 1 with the most confidence.",
        "Expected calibration error 0.0700",
        "T = 1.50, fitted on the validation rows to the networks of the search, the model is less sure and the error is 0.0200",
    ):
        assert words in reader.words, words
    sources = [attributes["href"] for tag, attributes in reader.tags if tag == "image"]
    assert len(sources) == 2 * 3 + 2 * 4 + 1 and all(source and source.startswith("data:image/png") for source in sources)
    assert "<b>cat</b>" not in page and "a/<i>.png" not in page and "a/&lt;i&gt;.png" in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)


def test_without_pictures_the_numbers_stay_and_without_numbers_nothing_is_said() -> None:
    words = Reader(render(dict(facts()))).words
    assert "Which classes are confused" in words and "What the network saw" not in words and "The worst errors" not in words
    plain = Reader(render(example.summary(8))).words
    assert not any(part in plain for part in ("Which classes are confused", "as sure as it is right", "Filters of the first layer"))


def test_a_cocktail_that_changes_no_pixel_is_told() -> None:
    shown = pictures()
    still = Pictures(shown.originals, shown.draws[:, :0], shown.filters, None)
    words = Reader(render({**facts(), "samples": {"changed_by": [], "labels": ["a", "b"]}}, None, still)).words
    assert "The winner's cocktail changes no pixel." in words


def test_many_classes_are_listed_and_not_drawn() -> None:
    for classes, drawn in ((3, True), (20, True), (40, False)):
        found = confusion.section(facts(classes)["confusion"])  # pyright: ignore[reportArgumentType] -- a dict of plain values
        assert found is not None and (found["figure"] is not None) is drawn
        assert "wrong. Most often: " in found["said"]
    perfect = confusion.section({"classes": ["a", "b"], "counts": [[5, 0], [0, 5]]})
    assert perfect is not None and perfect["said"] == "0 rows of 10 wrong."
    assert confusion.section({}) is None
