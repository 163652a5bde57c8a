"""Tables that list images, and folders that are split by hand: what is read, which rows do what, and what is said of the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from PIL import Image
from tests.data.image_files import KINDS, write_folder

from temperance.core.errors import DataError
from temperance.data.encode_images import ImageEncoder
from temperance.data.read_images import is_images, read_images
from temperance.job.prepare import prepare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty-four images in three class folders, 30 % of them not square."""
    return write_folder(tmp_path / "shapes", 24, 3, sizes=((6, 6), (6, 6), (9, 12)), color=True)


def names_in(folder: Path) -> list[str]:
    return [f"{kind}/{file.name}" for kind in KINDS for file in sorted((folder / kind).iterdir(), key=lambda file: int(file.stem))]


def test_a_list_reads_as_its_folder_does_in_every_form(folder: Path) -> None:
    names = names_in(folder)
    labels = [name.split("/")[0] for name in names]
    content = [(folder / name).read_bytes() for name in names]
    whole = read_images(folder)
    pd.DataFrame({"file": names, "kind": labels}).to_csv(folder / "a.csv", index=False)
    pd.DataFrame({"kind": labels, "file": [str(folder / name) for name in names]}).to_csv(folder / "b.tsv", index=False, sep="\t")
    pd.DataFrame({"image": [f"shapes/{name}" for name in names], "label": labels, "age": range(24)}).to_csv(folder.parent / "c.csv", index=False, sep=";")
    pd.DataFrame({"image": names, "label": labels}).to_csv(folder.parent / "d.csv", index=False)  # relative to a folder beside the table
    pa.parquet.write_table(pa.table({"image": content, "label": labels}), folder / "e.parquet")
    pa.parquet.write_table(pa.table({"image": [{"bytes": c, "path": n} for c, n in zip(content, names, strict=True)], "y": labels}), folder / "f.parquet")
    pa.parquet.write_table(pa.table({"image": names, "label": labels}), folder / "g.pq")
    pa.feather.write_feather(pa.table({"image": content, "label": labels}), folder / "h.feather")
    with pa.ipc.new_stream(folder / "i.arrow", (table := pa.table({"image": content, "label": labels})).schema) as stream:
        stream.write_table(table)
    for path in (
        *(folder / name for name in ("i.arrow", "a.csv", "b.tsv", "e.parquet", "f.parquet", "g.pq", "h.feather")),
        folder.parent / "c.csv",
        folder.parent / "d.csv",
    ):
        assert is_images(path), path
        found = read_images(path)
        assert np.array_equal(found.pixels, whole.pixels) and found.labels.tolist() == labels and found.kind == "list", path
    assert "`age` left out: of a list of images only the images are learned from" in read_images(folder.parent / "c.csv").notes
    assert read_images(folder / "f.parquet").names == whole.names
    encoder = ImageEncoder().fit(whole)
    for name in ("a.csv", "e.parquet"):  # as the rows to predict, with labels or without
        parts = list(encoder.batches(folder / name, rows=10))
        assert [len(part) for part in parts] == [10, 10, 4]
        assert np.array_equal(np.concatenate([part.pixels for part in parts]), whole.pixels)


def test_a_first_row_without_an_image_or_with_a_comma_hides_no_list(folder: Path) -> None:
    names = names_in(folder)
    labels = [f"{name.split('/')[0]}, big" for name in names]
    pd.DataFrame({"file": [None, *names], "label": [labels[0], *labels]}).to_csv(folder / "a.csv", index=False)
    found = read_images(folder / "a.csv")
    assert found.labels.tolist() == labels
    assert "1 of 25 files cannot be read and is left out: row 1 (no image)" in found.notes


def test_a_folder_beside_a_list_that_may_not_be_opened_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_in(folder)
    pd.DataFrame({"image": names, "label": [name.split("/")[0] for name in names]}).to_csv(folder.parent / "a.csv", index=False)
    closed, look = folder.parent / "closed", os.stat
    closed.mkdir()

    def refusing(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{closed}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, *args, **options)

    monkeypatch.setattr(os, "stat", refusing)
    assert len(read_images(folder.parent / "a.csv")) == 24


def test_the_targets_of_a_list_are_classes_values_or_labels(folder: Path) -> None:
    names = names_in(folder)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"file": names, "price": rng.normal(size=24), "red": np.arange(24) % 2, "round": np.arange(24) // 12})
    table.to_csv(folder / "a.csv", index=False)
    assert prepare(folder / "a.csv", "price").target.task == "regression"
    several = prepare(folder / "a.csv", ["red", "round"])
    assert (several.target.task, several.target.names) == ("multilabel", ("red", "round")) and np.array_equal(several.data.y.numpy(), table[["red", "round"]])
    assert prepare(folder / "a.csv", "red", task="regression").target.task == "regression"
    table.loc[3, "price"] = np.nan
    table.to_csv(folder / "a.csv", index=False)
    assert prepare(folder / "a.csv", "price").data.labeled.tolist() == [row != 3 for row in range(24)]


def test_a_split_that_is_given_is_followed(folder: Path, tmp_path: Path) -> None:
    names = names_in(folder)
    roles = np.array(["train", "train", "val", "test"] * 6)
    pd.DataFrame({"file": names, "label": [name.split("/")[0] for name in names], "split": roles}).to_csv(folder / "a.csv", index=False)
    ready = prepare(folder / "a.csv")
    assert ready.images is not None and ready.images.names is not None
    for rows, role in ((ready.split.train, "train"), (ready.split.validation, "val"), (ready.split.test, "test")):
        assert [ready.images.names[row] for row in rows] == [name for name, own in zip(names, roles, strict=True) if own == role]
    assert ready.split.given and ready.split.kind == "hold-out"
    for part, n in (("train", 18), ("val", 6), ("test", 3)):
        write_folder(tmp_path / "parts" / part, n, 3, seed=n)
    ready = prepare(tmp_path / "parts")
    assert [len(rows) for rows in (ready.split.train, ready.split.validation, ready.split.test)] == [18, 6, 3]
    assert "train holds the images to learn from, val the 6 to validate with, test the 3 test images" in ready.notes
    for kind in KINDS:  # test images without classes: as contests give them
        for file in (tmp_path / "parts" / "test" / kind).iterdir():
            file.rename(tmp_path / "parts" / "test" / f"{kind}{file.name}")
    ready = prepare(tmp_path / "parts")
    assert [len(rows) for rows in (ready.split.train, ready.split.validation, ready.split.test)] == [15, 6, 3] and not ready.split.given
    assert set(ready.split.test) < set(range(18)) and any("3 images of test are in no class folder" in note for note in ready.notes)


def test_lists_that_cannot_be_used_are_told(folder: Path) -> None:
    names = names_in(folder)
    path = folder / "a.csv"

    def refused(words: str, target: str | None = None, **columns: object) -> None:
        pd.DataFrame(columns).to_csv(path, index=False)
        with pytest.raises(DataError, match=words):
            prepare(path, target)

    refused(r"one column with labels in .*, got `size`, `kind` beside the images in `file`\. Name one with --target\.", file=names, size=range(24), kind="a")
    refused(r"`--target` to name a column .*'kinds'.*Did you mean `kind`", target="kinds", file=names, kind=["a", "b"] * 12)
    refused(r"files of the column `file` to exist, got none.*'no/bar/0\.png'", file=[f"no/{name}" for name in names], kind=["a", "b"] * 12)
    kinds = [name.split("/")[0] for name in names]
    refused(r"files of the column `file` to exist, got none.*'no/bar/0\.png'", file=[f"no/{name}" for name in names], kind=kinds, split=["train", "val"] * 12)
    refused(r"train, val or test in every row of `split` in .*, got nothing in row 3\.", file=names, kind=kinds, split=["train", "val", None, "test"] * 6)
    refused(r"train, val or test in every row of `set` in .*, got 'extra' in row 2\.", file=names, kind=kinds, set=["train", "extra", "test"] * 8)
    path.write_text("\n".join(f"{name},{kind}" for name, kind in zip(names, kinds, strict=True)), encoding="utf-8")
    with pytest.raises(DataError, match=r"first line with the names of the columns in .*, got 'bar/0\.png'\. Add one, such as file,label\."):
        prepare(path)
    refused(r"got 6 of 24 files that cannot be read: .*No such file", file=[*names[:18], *(f"no{i}.png" for i in range(6))], kind=["a", "b"] * 12)
    plain = folder / "plain.csv"
    plain.write_text("name,y\na.png is nice,1\nb,2\n", encoding="utf-8")
    assert not is_images(plain) and not is_images(folder / "none.csv")
    long = pd.DataFrame({"text": [f"{'x' * 300}.png", "b.png"], "size": [1, 2], "y": [0, 1]})
    long.to_csv(plain, index=False)
    assert not is_images(plain)
    pa.parquet.write_table(pa.table({"blob": [b"ab", b"cd"], "y": [0, 1]}), folder / "blob.parquet")
    assert not is_images(folder / "blob.parquet")


@pytest.mark.parametrize("suffix", ["webp", "bmp", "gif", "tiff", "TIF", "png"])
def test_every_kind_of_file_is_read_and_others_are_counted(tmp_path: Path, suffix: str) -> None:
    for i in range(4):
        place = tmp_path / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        Image.new("RGB", (5, 4), (60 * i, 20, 200)).save(place / f"{i}.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    (tmp_path / "a" / "phone.HEIC").write_bytes(b"?")
    (tmp_path / "a" / "Thumbs.db").write_bytes(b"?")
    found = read_images(tmp_path)
    assert found.pixels[:, 0, 0, 0].tolist() == [0, 120, 60, 180] and found.shape == (3, 4, 5)
    assert any(note.endswith("images are left out: 1 .heic") for note in found.notes)


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floats_in_tiff_files_are_shades(tmp_path: Path, white: float) -> None:
    for i, kind in enumerate("ab"):
        (tmp_path / kind).mkdir()
        Image.fromarray(np.full((3, 3), white * (0.2 + 0.4 * i), np.float32)).save(tmp_path / kind / "0.tif")
    assert read_images(tmp_path).pixels[:, 0, 0, 0].tolist() == [51, 153]


def test_reading_tells_how_far_it_is(folder: Path) -> None:
    shares: list[float] = []
    read_images(folder, told=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) == 48 and 0 < shares[0] < 0.1
