"""Generated data files, whole and damaged: each is read as what was written, or refused in words; none crashes, hangs or is a bug."""

from __future__ import annotations

import gzip
import lzma
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from tests.hostile import damaged, outcome

from temperance.data import TableEncoder, read_table
from temperance.data.read_images import read_images

TABLES = (".csv", ".tsv", ".csv.gz", ".csv.xz", ".csv.zip", ".parquet", ".feather", ".lz4.feather", ".arrow", ".xlsx")
IMAGES = (".npz", "-images-idx3-ubyte", "-images-idx3-ubyte.gz")
WORDS = ("cook", "smith", "pilot", "naïve", "日本", "a b", "x,y", 'say "no"', "x;y", "=1+1", "-", "’", "\\", "'")
Cell = st.none() | st.sampled_from(WORDS)


def frame_of(rng: np.random.Generator, words: list[Any]) -> pd.DataFrame:
    n = len(words)
    return pd.DataFrame({"age": rng.normal(size=n).round(3), "count": rng.integers(0, 9, n), "job": words, "rich": rng.choice(["no", "yes"], n)})


def written(frame: pd.DataFrame, path: Path, suffix: str, rng: np.random.Generator) -> None:
    """A table, or for images as many images of noise, in the format of the suffix."""
    text = frame.to_csv(index=False, sep="\t" if suffix == ".tsv" else ",").encode()
    pixels, labels = rng.integers(0, 256, (len(frame), 4, 4), dtype=np.uint8), (np.arange(len(frame)) % 2).astype(np.uint8)
    idx = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in pixels.shape) + pixels.tobytes()
    if suffix in (".csv", ".tsv"):
        path.write_bytes(text)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress(text, mtime=0))
    elif suffix == ".csv.xz":
        path.write_bytes(lzma.compress(text))
    elif suffix == ".csv.zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", text)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix in (".feather", ".lz4.feather"):
        feather.write_feather(frame, str(path), compression="lz4" if "lz4" in suffix else "uncompressed")
    elif suffix == ".arrow":
        table = pa.Table.from_pandas(frame)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table)
    elif suffix == ".xlsx":
        frame.to_excel(path, index=False)
    elif suffix == ".npz":
        np.savez(path, x=pixels, y=labels)
    else:
        path.write_bytes(gzip.compress(idx, mtime=0) if suffix.endswith(".gz") else idx)


def read(path: Path, suffix: str, encoder: TableEncoder) -> str:
    """Read a file as fitting and as predicting does."""
    if suffix in IMAGES:
        return str(int(read_images(path, labels=False).pixels.astype(np.int64).sum()))
    parts = [encoder.encode(rows) for rows in encoder.batches(path)]
    frame = read_table(path)
    cells = [None if pd.isna(value) else value for value in frame["job"]]
    return repr(([round(float(v), 3) for v in frame["age"]], cells, sum(float(part["num"].sum()) for part in parts)))


def counted(files: int, folder: Path) -> Counter[str]:
    """What became of so many files; a file that was not damaged has to be read as what was written."""
    found: Counter[str] = Counter()
    train = frame_of(np.random.default_rng(0), [*WORDS, *WORDS])
    encoder = TableEncoder().fit(train[["age", "count", "job"]])

    @settings(max_examples=files, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(TABLES + IMAGES), st.lists(Cell, min_size=2, max_size=12), st.integers(0, 2**32), st.integers(0, 3))
    def one(suffix: str, words: list[Any], seed: int, whole: int) -> None:
        rng = np.random.default_rng(seed)
        if suffix == ".xlsx":  # a formula that no spreadsheet has calculated has no value
            words = [word for word in words if word != "=1+1"] or ["cook"]
        frame, path = frame_of(rng, words), folder / f"t{suffix}"
        written(frame, path, suffix, rng)
        if whole:
            path.write_bytes(damaged(path.read_bytes(), rng))
        what, text = outcome(lambda: read(path, suffix, encoder))
        if what not in ("fine", "refused"):
            (folder.parent / f"failing{suffix}").write_bytes(path.read_bytes())
        assert what in ("fine", "refused"), (what, text, suffix, seed)
        if what == "refused":
            assert text.startswith("Error: ") and "bug" not in text and "\n" not in text, text
        elif not whole and suffix in TABLES:
            ages, cells, _ = eval(text)  # our own repr
            assert ages == frame["age"].tolist()
            assert [None if c in ("-", None) else c for c in cells] == [None if c in ("-", None) else c for c in words]
        found["files"] += 1
        found[f"{what} {'whole' if not whole else 'damaged'}"] += 1

    one()
    return found


def test_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    found = counted(100, tmp_path / "d")
    assert found["files"] >= 100 and found["fine whole"] > 10 and found["refused damaged"] > 20


@pytest.mark.slow
def test_a_thousand_files_are_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    found = counted(1000, tmp_path / "d")
    print(dict(found))
    assert found["files"] >= 1000


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.arrow", "t.xlsx", "t.npz", "t.png", "t-images-idx3-ubyte", "t"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    """Reading them may never end."""
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    reader = read_images if name in ("t.npz", "t.png", "t-images-idx3-ubyte") else read_table
    what, text = outcome(lambda: reader(path))
    assert what == "refused" and "a pipe, a device or a socket" in text, (what, text)


def test_a_table_with_offsets_that_lead_nowhere_is_refused(tmp_path: Path) -> None:
    """Arrow takes them as they are, and crashes when a cell is looked at."""
    table, path = pa.table({"job": ["cook", "smith"], "n": [1, 2]}), tmp_path / "t.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
        out.write_table(table)
    offsets, wrong = (np.array([0, 4, end], np.int32).tobytes() for end in (9, 1 << 30))
    assert path.read_bytes().count(offsets) == 1
    path.write_bytes(path.read_bytes().replace(offsets, wrong))
    encoder = TableEncoder().fit({"job": ["cook", "smith"] * 5, "n": range(10)})
    for work in (lambda: read_table(path), lambda: encoder.transform(path)):
        what, text = outcome(work)
        assert what == "refused" and "readable table" in text, (what, text)
