"""The benchmark of images: which rows train, and the table that says what was reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from benchmarks.csv_lines import read, write
from tests.data.image_files import some, write_idx

from benchmarks import image_speed, images


@pytest.mark.parametrize(("name", "train", "test"), [("digits", 1437, 360), ("labels", 100, 1697)])
def test_rows_of_digits_train_or_test(name: str, train: int, test: int) -> None:
    given, again, other = (images.arrays(images.ROWS[name], Path(), seed) for seed in (0, 0, 1))
    assert (len(given["x_train"]), len(given["x_test"])) == (train, test) == (len(given["y_train"]), len(given["y_test"]))
    assert np.array_equal(given["x_train"], again["x_train"]) and not np.array_equal(given["x_train"], other["x_train"])
    counts = np.bincount(given["y_train"])
    assert len(counts) == 10 and counts.max() - counts.min() <= train / 100 + 1


def test_few_images_are_drawn_and_the_test_images_stay(tmp_path: Path) -> None:
    (x, y), (u, v) = some(60, 3), some(9, 3, seed=1)
    write_idx(tmp_path / "mnist", "train", x, y)
    write_idx(tmp_path / "mnist", "t10k", u, v)
    few = images.arrays(images.Row("mnist", 12, 1, 50.0), tmp_path, 0)
    assert np.bincount(few["y_train"]).tolist() == [4, 4, 4] and np.array_equal(few["x_test"], u) and np.array_equal(few["y_test"], v)
    whole = images.arrays(images.Row("mnist", 0, 1, 50.0), tmp_path, 0)
    assert np.array_equal(whole["x_train"], x) and np.array_equal(whole["y_train"], y)


def test_a_row_is_reached_by_its_mean_or_missed(tmp_path: Path) -> None:
    out = tmp_path / "images.csv"
    for seed, accuracy in enumerate((94.0, 93.2)):
        facts = {"row": "fashion", "seed": seed, "budget": 10, "train": 60_000, "test": 10_000, "accuracy": accuracy, "plain": 92.0}
        write(out, images.COLUMNS, facts, digits=2)
    write(out, images.COLUMNS, {"row": "mnist", "seed": 0, "budget": 5, "train": 60_000, "test": 10_000, "accuracy": 99.3}, digits=2)
    lines = images.table(read(out)).splitlines()
    assert lines[2] == "| fashion | 60,000 | 10,000 | 10 | 2 | 93.60 ± 0.57 | 92.00 ± 0.00 |  | 93.5 | reached |"
    assert lines[3].endswith("| 99.30 |  |  | 99.4 | missed |") and lines[4].endswith("not run |")


def test_the_loop_shifts_every_image_by_itself() -> None:
    """As RandomCrop does: each of 25 places comes up, and a shift is a window of the image with a rim of zeros."""
    torch.manual_seed(0)
    image = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    wide = F.pad(image, (2, 2, 2, 2))[0, 0]
    windows = [wide[a : a + 4, b : b + 4] for a in range(5) for b in range(5)]
    found = [next(k for k, window in enumerate(windows) if torch.equal(window, one[0])) for one in image_speed.shifted(image.expand(400, 1, 4, 4))]
    assert set(found) == set(range(25))
