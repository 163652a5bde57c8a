"""Packed text is read as if it were not, whole and in batches; an archive that is no table is refused by what is in it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from temperance.cli.app import default_folder
from temperance.core.errors import DataError
from temperance.data import TableEncoder, read_table
from temperance.data.batches import Batches

ROWS = 40_000


def archive(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)


def zstd(path: Path, data: bytes) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as out:
        out.write(data)


PACK: dict[str, Callable[[Path, str, bytes], object]] = {
    ".gz": lambda path, name, data: path.write_bytes(gzip.compress(data)),
    ".bz2": lambda path, name, data: path.write_bytes(bz2.compress(data)),
    ".zst": lambda path, name, data: zstd(path, data),
    ".xz": lambda path, name, data: path.write_bytes(lzma.compress(data)),
    ".zip": lambda path, name, data: archive(path, {"__MACOSX/._t.csv": b"\0", "folder/": b"", f"folder/{name}": data}),
}


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=ROWS).round(6), "job": rng.choice(["cook", "a;b\tc", "größe"], ROWS)})


@pytest.mark.parametrize("inner", ["t.csv", "t.tsv"])
@pytest.mark.parametrize("suffix", PACK)
def test_packed_is_as_unpacked(tmp_path: Path, suffix: str, inner: str) -> None:
    plain, packed = tmp_path / inner, tmp_path / f"{inner}{suffix}"
    table().to_csv(plain, index=False, sep="," if inner.endswith("csv") else "\t")
    PACK[suffix](packed, inner, plain.read_bytes())
    pd.testing.assert_frame_equal(read_table(packed), read_table(plain))
    encoder = TableEncoder().fit(read_table(plain))
    assert (encoder.transform(packed)["num"] == encoder.transform(plain)["num"]).all()
    batches = Batches(packed, encoder.kinds, rows=1000)
    shares = []
    for frame in batches:
        shares.append(batches.done)
        assert len(frame) == 1000
    assert len(shares) == 40 and shares == sorted(shares) and shares[0] > 0 and shares[-1] <= 1 == batches.done
    assert default_folder(str(packed)) == Path("t-temperance")


def test_an_archive_need_not_be_named_as_its_file(tmp_path: Path) -> None:
    archive(tmp_path / "data.zip", {"t.tsv": b"a\tb\n1,5\t2\n"})
    assert read_table(tmp_path / "data.zip").columns.tolist() == ["a", "b"]
    assert default_folder("data.zip") == Path("data-temperance")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.csv": b"x\n1\n", "b.csv": b"x\n1\n"}, "with one file, got `a.csv`, `b.csv` in"),
        ({}, "with one file, got none in"),
        ({"notes.docx": b"x"}, "in a known format"),
        ({"t.parquet": b"PAR1"}, "in a known format"),
        ({"t.csv": b""}, "a header line and rows"),
        ({"t.csv": b"\xff\xfe"}, "text in UTF-8"),
    ],
)
def test_other_archives_are_refused(tmp_path: Path, files: dict[str, bytes], told: str) -> None:
    archive(tmp_path / "t.zip", files)
    for read in (read_table, lambda path: list(Batches(path, {"x": "number"}))):
        with pytest.raises(DataError, match=told):
            read(tmp_path / "t.zip")


@pytest.mark.parametrize("suffix", [".xz", ".zip", ".gz", ".bz2"])
@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"t.csv{suffix}"
    PACK[suffix](path, "t.csv", table().to_csv(index=False).encode())
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))] if kept else b"not packed at all")
    for read in (read_table, lambda path: list(Batches(path, {"x": "number"}))):
        with pytest.raises(DataError, match="Expected `data` to be a readable table"):
            read(path)
