"""The command line with images: fit, predict and replay, and every bad input as one message."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from tests.cli.conftest import Run
from tests.cli.test_bad_input import refused
from tests.data.image_files import some, write_folder, write_idx

from temperance.data import read_images
from temperance.job import fit_table

REAL = Path(__file__).parents[3] / "shared" / "data" / "images"
WITHOUT = [word for name in ("LabelSmoothing", "Affine", "RandomCrop", "CutOut", "MixUp", "CutMix", "Dropout", "EMA") for word in ("--without", name)]


def test_from_a_folder_to_predictions(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "marks", 40)
    (tmp_path / "marks" / "dot" / "broken.png").write_bytes(b"no")
    made = run("fit", "marks/", "--trials", "1", "--ensemble", "1", *WITHOUT)
    assert made.exit_code == 0, made.output
    for words in (
        "marks: 40 images of 6 x 6 pixels, gray, and label",
        "1 of 41 files cannot be read and is left out: dot/broken.png",
        "Predict  temperance predict marks-tem",
    ):
        assert words in made.stdout, (words, made.stdout)
    told = run("predict", "marks-temperance", "marks", "--out", "p.csv")
    assert told.exit_code == 0 and "Wrote 40 predictions to p.csv." in told.stderr and "1 of 41 files cannot be read" in told.stderr
    table = pd.read_csv(tmp_path / "p.csv")
    assert list(table.columns) == ["file", "prediction"] and len(table) == 40 and set(table["prediction"]) <= {"bar", "dot"}
    again = run("replay", "marks-temperance", "--trial", "0")
    assert again.exit_code == 0 and "the same number" in again.stdout
    (tmp_path / "none").mkdir()
    refused(run("predict", "marks-temperance", "none"), ["PNG, JPEG, WebP, BMP, GIF or TIFF files", "'none'", "it is empty"])
    refused(run("predict", "marks-temperance", "nowhere"), ["existing file or folder", "'nowhere'"])
    (tmp_path / "t.csv").write_text("a\n1\n", encoding="utf-8")
    refused(run("predict", "marks-temperance", "t.csv", "--out", "q.csv"), ["images as the model was fitted on", "t.csv"])
    listed = run("predict", "marks-temperance", "p.csv", "--out", "q.csv")  # what was written names the files, so it can be read
    assert listed.exit_code == 0 and pd.read_csv(tmp_path / "q.csv")["prediction"].tolist() == table["prediction"].tolist()
    (tmp_path / "marks" / "bar" / "0.png").unlink()
    refused(run("replay", "marks-temperance", "--trial", "0"), ["rows that the fit was made from"])


@pytest.mark.slow
@pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="the images mnist are not there")
def test_mnist_from_its_files_to_predictions(run: Run, tmp_path: Path) -> None:
    """One hidden layer reaches 98 % of these images (Simard et al., 2003); two layers and a cocktail must not do worse."""
    fit_table(REAL / "mnist" / "train-images-idx3-ubyte.gz", out=tmp_path / "m", trials=2, refits=1, ensemble=1, without=["Affine"])
    summary = json.loads((tmp_path / "m" / "summary.json").read_text(encoding="utf-8"))
    assert (summary["scores"]["n_test"], summary["data"]["rows"]) == (10_000, 70_000)
    accuracy = summary["scores"]["test"]["accuracy"]["value"]
    assert accuracy > 0.98
    assert run("predict", "m", REAL / "mnist" / "t10k-images-idx3-ubyte.gz", "--out", "p.csv").exit_code == 0
    labels = read_images(REAL / "mnist").labels
    assert labels is not None
    assert (pd.read_csv(tmp_path / "p.csv")["prediction"].to_numpy() == labels[-10_000:]).mean() == pytest.approx(accuracy)
    assert (tmp_path / "m" / "report.html").stat().st_size < 2_000_000


def nothing(folder: Path) -> None:
    folder.mkdir()


def one_class(folder: Path) -> None:
    write_folder(folder, 12, 1)


def broken(folder: Path) -> None:
    for path in write_folder(folder, 12).rglob("*.png"):
        path.write_bytes(b"no")


def loose(folder: Path) -> None:
    write_folder(folder, 12, 1)
    (folder / "bar").rename(folder.parent / "moved")
    for path in (folder.parent / "moved").iterdir():
        path.rename(folder / path.name)


def few(folder: Path) -> None:
    write_folder(folder, 6)


def lonely(folder: Path) -> None:
    write_folder(folder, 13, 2)
    for path in sorted((folder / "dot").iterdir())[1:]:
        path.unlink()


FOLDERS: dict[str, tuple[Callable[[Path], None], Sequence[str]]] = {
    "an empty folder": (nothing, ["class folders with images", "'images', it is empty", "Make a folder for each class"]),
    "one class": (one_class, ["at least two class folders", "'bar' alone", "Name the folder above it."]),
    "files that cannot be read": (broken, ["9 of 12 files that cannot be read", "not a PNG, JPEG, WebP, BMP, GIF or TIFF image", "Mend them."]),
    "no class folders": (loose, ["class folders with images", "12 images without a class folder", "Make a folder for each class"]),
    "few images": (few, ["at least 10 rows", "got 6"]),
    "a class seen once": (lonely, ["every class", "'dot' only once"]),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folder(run: Run, tmp_path: Path, case: str) -> None:
    make, words = FOLDERS[case]
    make(tmp_path / "images")
    refused(run("fit", "images", "--trials", "2"), words)
    assert not (tmp_path / "images-temperance").exists()


def test_files(run: Run, tmp_path: Path) -> None:
    path = write_idx(tmp_path, "train", *some(20))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    refused(run("fit", path.name, "--trials", "2"), ["736 bytes for 20 x 6 x 6", "got 733", "again"])
    path.write_bytes(whole)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    refused(run("fit", path.name, "--trials", "2"), ["labels", "beside it", "'train-labels-idx1-ubyte'"])
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    refused(run("fit", "a.npz", "--trials", "2"), ["NumPy archive", "'a.npz'"])
    refused(run("fit", "b.npz", "--trials", "2"), ["existing file or folder", "'b.npz'", "Did you mean `a.npz`?"])


def test_settings_that_images_do_not_take_and_tables_need(run: Run, people: pd.DataFrame, tmp_path: Path) -> None:
    write_folder(tmp_path / "images", 20)
    refused(run("fit", "images", "--target", "label"), ["no `--target` for images", "'label'", "Leave it out."])
    refused(run("fit", "images", "--weight", "w"), ["no `--weight` for images", "Leave it out."])
    refused(run("fit", "images", "--test", "people.csv"), ["`--test` to be images", "'people.csv'"])
    refused(run("fit", "people.csv", "--trials", "2"), ["`--target` to name the column", "got none", "`age`, `job`"])


TRUNK = """
import torch


def trunk(data):
    layer = torch.nn.Conv2d(data.in_shape[0], 6, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.sin(torch.arange(54.0)).reshape(6, 1, 3, 3))
    return torch.nn.Sequential(layer, torch.nn.ReLU())
"""


def test_a_backbone_from_the_fit_to_predictions(run: Run, tmp_path: Path) -> None:
    write_folder(tmp_path / "marks", 40)
    (tmp_path / "net.py").write_text(TRUNK, encoding="utf-8")
    made = run("fit", "marks/", "--backbone", "net.py:trunk", "--trials", "1", "--ensemble", "1", *WITHOUT[6:], "--without", "neighbors")
    assert made.exit_code == 0, made.output
    for words in ("networks read the 6 features that net.py:trunk has of each image", "marks-temperance new-images/ --backbone net.py:trunk"):
        assert words in " ".join(made.stdout.split()), (words, made.stdout)
    refused(run("predict", "marks-temperance", "marks", "--out", "p.csv"), ["loading a model runs no code", "--backbone FILE.py:build"])
    for command in (["predict", "marks"], ["export", "--torch", "m.pt2"], ["robust", "marks", "--steps", "2"], ["diagnose", "marks", "--check", "numbers"]):
        told = run(command[0], "marks-temperance", *command[1:], "--backbone", "net.py:trunk")
        assert told.exit_code == 0, (command, told.output)
    again = run("replay", "marks-temperance", "--trial", "0", "--backbone", "net.py:trunk")
    assert again.exit_code == 0 and "the same number" in again.stdout
    refused(run("fit", "marks", "--backbone", "resnet18", "--trials", "1", "--out", "no"), ["FILE.py:build or timm:NAME", "'resnet18'"])
