"""Images from idx files, archives and folders: what is read, how it is encoded, and what is said of what cannot be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.image_files import KINDS, idx_bytes, pixels_of, some, write_folder, write_idx

from temperance.core.errors import DataError
from temperance.data.encode_images import ImageEncoder
from temperance.data.image_folders import natural
from temperance.data.images import Images, brought_to
from temperance.data.read_images import is_images, read_images

REAL = Path(__file__).parents[3] / "shared" / "data" / "images"


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType] -- arrays by name
    return path


# idx


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_with_their_labels(tmp_path: Path, packed: bool) -> None:
    x, y = some(20)
    path = write_idx(tmp_path, "letters", x, y, packed)
    found = read_images(path)
    assert np.array_equal(found.pixels[:, 0], x) and np.array_equal(found.labels, y)
    assert (found.kind, found.untouched, found.names) == ("idx", 0, None)
    assert np.array_equal(read_images(tmp_path).pixels, found.pixels)
    assert read_images(path, labels=False).labels is None


@pytest.mark.parametrize("later", ["t10k", "test"])
def test_the_pair_for_testing_is_kept_apart(tmp_path: Path, later: str) -> None:
    (x, y), (u, v) = some(20), some(6, seed=1)
    path = write_idx(tmp_path, "train", x, y)
    write_idx(tmp_path, later, u, v, packed=True)
    for source in (path, tmp_path):
        found = read_images(source)
        assert found.untouched == 6 and np.array_equal(found.pixels[-6:, 0], u) and np.array_equal(found.labels[-6:], v)
        assert any("6 images" in note and "test rows" in note for note in found.notes)
    assert len(read_images(path, labels=False)) == 20


def test_damaged_idx_files_are_told(tmp_path: Path) -> None:
    x, y = some(8)
    path = write_idx(tmp_path, "train", x, y)
    whole = path.read_bytes()

    def refused(content: bytes, words: str) -> None:
        path.write_bytes(content)
        with pytest.raises(DataError, match=words):
            read_images(path)

    refused(whole[:-5], r"Expected 304 bytes for 8 x 6 x 6 in .*, got 299\. Copy or download it again\.")
    refused(whole + b"!", "got 305")
    refused(gzip.compress(whole)[:40], "readable idx file")
    refused(b"", "begins with nothing")
    refused(b"PK\x03\x04", "which begins with 50 4b 03 04")
    refused(whole[:2] + b"\x0d" + whole[3:], r"type 08\), got type 0d")
    refused(idx_bytes(y), "got that of the labels")
    refused(idx_bytes(x[:5]), r"Expected 5 labels in .*, got shape \(8,\)")
    refused(idx_bytes(x[:0]), r"got shape \(0, 6, 6\)")
    path.write_bytes(whole)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"labels of .* beside it, in 'train-labels-idx1-ubyte' or 'train-labels-idx1-ubyte\.gz'"):
        read_images(path)


def test_several_sets_in_one_folder_have_to_be_named(tmp_path: Path) -> None:
    x, y = some(8)
    for name in ("digits-train", "letters-train"):
        write_idx(tmp_path, name, x, y)
    with pytest.raises(DataError, match=r"one idx file of images.*`digits-train-images-idx3-ubyte`.*Name one file\."):
        read_images(tmp_path)


# npz


@pytest.mark.parametrize("names", [("x", "y"), ("X", "Y"), ("X", "y"), ("images", "labels")])
def test_archives_are_read(tmp_path: Path, names: tuple[str, str]) -> None:
    x, y = some(10)
    found = read_images(save(tmp_path / "a.npz", **{names[0]: x, names[1]: y}))
    assert np.array_equal(found.pixels[:, 0], x) and np.array_equal(found.labels, y)
    assert found.notes[0] == f"images from `{names[0]}` and labels from `{names[1]}`"


def test_archives_may_hold_rows_for_testing(tmp_path: Path) -> None:
    (x, y), (u, v) = some(10), some(4, seed=1)
    found = read_images(save(tmp_path / "a.npz", x_train=x, y_train=y[:, None], x_test=u, y_test=v))
    assert found.untouched == 4 and np.array_equal(found.pixels[-4:, 0], u) and np.array_equal(found.labels, np.concatenate([y, v]))


def test_arrays_of_other_kinds_become_bytes(tmp_path: Path) -> None:
    x, y = some(10)
    whole = read_images(save(tmp_path / "a.npz", x=x, y=y))
    for other, values in ((x / 255.0, (0.0, 1.0)), (x.astype(np.int32), (0.0, 255.0)), (x.astype(np.float32), (0.0, 255.0))):
        found = read_images(save(tmp_path / "b.npz", x=other, y=y))
        assert found.values == values and np.array_equal(found.pixels, whole.pixels)
    spread = read_images(save(tmp_path / "b.npz", x=x / 100.0 - 1.0, y=y))
    low, high = x.min() / 100.0 - 1.0, x.max() / 100.0 - 1.0
    assert spread.values == pytest.approx((low, high)) and (spread.pixels.min(), spread.pixels.max()) == (0, 255)
    part = read_images(save(tmp_path / "c.npz", x=(x[:3] / 100.0 - 1.0)), labels=False, values=spread.values)
    assert np.array_equal(part.pixels, spread.pixels[:3])  # by the range of the fit, not by its own
    flat = read_images(save(tmp_path / "b.npz", x=x.reshape(10, 36), y=np.eye(2)[y]))
    assert np.array_equal(flat.pixels, whole.pixels) and np.array_equal(flat.labels, y) and "6 x 6" in " ".join(flat.notes)


def test_channels_are_found_in_either_place(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    y = np.array(["a", "b", "a", "b"])
    found = read_images(save(tmp_path / "a.npz", x=x, y=y))
    assert found.shape == (3, 5, 7) and np.array_equal(found.pixels[0, 2], x[0, :, :, 2]) and found.labels.tolist() == ["a", "b", "a", "b"]
    assert np.array_equal(read_images(save(tmp_path / "b.npz", x=np.moveaxis(x, 3, 1), y=y)).pixels, found.pixels)
    opaque = np.concatenate([x, np.full((4, 5, 7, 1), 255, np.uint8)], 3)
    assert np.array_equal(read_images(save(tmp_path / "c.npz", x=opaque, y=y)).pixels, found.pixels)


def test_archives_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    x, y = some(10)
    path = tmp_path / "a.npz"

    def refused(words: str, **arrays: np.ndarray) -> None:
        save(path, **arrays)
        with pytest.raises(DataError, match=words):
            read_images(path)

    refused(r"arrays x and y.*got `faces` \(10, 6, 6\), `who` \(10,\)\. Save them under these names", faces=x, who=y)
    refused(r"10 labels in `y`.*got shape \(9,\)", x=x, y=y[:9])
    refused(r"one label an image.*got shape \(10, 2\)", x=x, y=np.ones((10, 2)))
    refused(r"images \(n, height, width\).*got shape \(10, 35\)", x=x.reshape(10, 36)[:, :35], y=y)
    refused(r"one, three or four channels.*\(5, 2, 6, 6\)", x=x.reshape(5, 2, 6, 6), y=y[:5])
    refused("finite numbers.*image 3", x=np.where(np.arange(10)[:, None, None] == 2, np.nan, x), y=y)
    refused("numbers in `x`.*<U1", x=np.full((10, 6, 6), "a"), y=y)
    np.savez(path, x=x, y=np.array([{"a": 1}] * 10, dtype=object))
    with pytest.raises(DataError, match=r"NumPy archive.*holds objects"):
        read_images(path)
    for content in (b"", b"PK\x03\x04 nonsense", path.read_bytes()[:100]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="to be a NumPy archive"):
            read_images(path)


# Folders


def test_a_folder_of_folders(tmp_path: Path) -> None:
    found = read_images(write_folder(tmp_path / "f", 24, 3))
    assert (found.shape, found.kind, found.untouched) == ((1, 6, 6), "folder", 0)
    assert found.labels.tolist() == [label for label in KINDS for _ in range(8)]
    assert found.names[:4] == ("bar/0.png", "bar/3.jpg", "bar/6.png", "bar/9.png")
    expected = pixels_of(np.arange(24) % 3)
    assert np.array_equal(found.pixels[0, 0], expected[0])  # a PNG is exact
    assert np.abs(found.pixels[1, 0].astype(int) - expected[3]).mean() < 20  # a JPEG nearly
    assert "all images have 6 x 6 pixels" in found.notes


def test_sizes_and_colors_are_brought_together(tmp_path: Path) -> None:
    write_folder(tmp_path / "f", 12, sizes=((10, 8), (6, 6), (20, 30)), color=True)
    found = read_images(tmp_path / "f")
    assert found.shape == (3, 10, 8)
    assert "images from 6 x 6 to 20 x 30 pixels are brought to 10 x 8 pixels, the median" in found.notes
    assert read_images(tmp_path / "f", shape=(1, 5, 5)).shape == (1, 5, 5)
    large = read_images(write_folder(tmp_path / "g", 4, sizes=((200, 100),)))
    assert large.shape == (1, 64, 32) and "made smaller" in " ".join(large.notes)


def test_gray_stays_gray_however_it_is_stored(tmp_path: Path) -> None:
    x, _ = some(4)
    for i, kind in enumerate(("a", "a", "b", "b")):
        (tmp_path / kind).mkdir(exist_ok=True)
        Image.fromarray(x[i]).convert(("RGB", "P", "LA", "L")[i]).save(tmp_path / kind / f"{i}.png")
    found = read_images(tmp_path)
    assert found.shape == (1, 6, 6) and np.array_equal(found.pixels[:, 0], x)


def test_transparency_lies_on_white_sixteen_bits_become_eight_and_photos_stand_upright(tmp_path: Path) -> None:
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
    Image.new("RGBA", (4, 6), (0, 0, 0, 0)).save(tmp_path / "a" / "0.png")
    Image.fromarray(np.full((6, 4), 65535, np.uint16)).save(tmp_path / "a" / "1.png")
    lying = Image.new("L", (6, 4), 0)
    turned = Image.Exif()
    turned[0x0112] = 6
    lying.save(tmp_path / "b" / "0.jpg", exif=turned)
    found = read_images(tmp_path)
    assert found.shape == (1, 6, 4) and "all images have 6 x 4 pixels" in found.notes
    assert found.pixels[:, 0, 0, 0].tolist() == [255, 255, 0]


def test_a_folder_for_testing_is_kept_apart(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", 12)
    write_folder(tmp_path / "test", 4, seed=1)
    (tmp_path / "raw").mkdir()
    found = read_images(tmp_path)
    assert (len(found), found.untouched) == (16, 4) and all(name.startswith("test/") for name in found.names[-4:])
    assert "train holds the images to learn from, test the 4 test images" in found.notes
    assert any("`raw`" in note and "left out" in note for note in found.notes)


def test_images_on_another_scale_than_those_of_the_fit_are_refused(tmp_path: Path) -> None:
    x, y = np.linspace(0.0, 1.0, 360).reshape(10, 6, 6), np.arange(10) % 2
    path = save(tmp_path / "a.npz", x=x, y=y)
    assert read_images(path, values=(0.0, 1.0)).pixels.max() == 255
    with pytest.raises(DataError, match=r"values from about 0 to 255.*`x`.*got 0 to 1\. Bring them to the same scale"):
        read_images(path, values=(0.0, 255.0))
    save(path, x=(x * 255).round().astype(np.int64), y=y)
    with pytest.raises(DataError, match=r"values from about 0 to 1,.*got 0 to 255"):
        read_images(path, values=(0.0, 1.0))
    save(path, x=(x > 0.5).astype(np.int64), y=y)
    assert read_images(path, values=(0.0, 255.0)).pixels.max() == 1


def test_untouched_images_given_apart_replace_those_of_the_source_and_it_is_said(tmp_path: Path) -> None:
    write_folder(tmp_path / "a" / "train", 12)
    write_folder(tmp_path / "a" / "test", 4, seed=1)
    write_folder(tmp_path / "b", 6, seed=2)
    found = read_images(tmp_path / "a").with_untouched(read_images(tmp_path / "b"))
    assert (len(found), found.untouched) == (18, 6)
    assert found.notes[-1] == "other test rows were given: the 6 of them take the place of the 4 of the data"


def test_the_folder_inside_is_named_where_the_classes_lie_there(tmp_path: Path) -> None:
    write_folder(tmp_path / "all" / "zoo", 6)
    with pytest.raises(DataError, match=r"'zoo' alone in .*all'\. Name '.*zoo'\."):
        read_images(tmp_path / "all")


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    write_folder(tmp_path, 40)
    (tmp_path / "bar" / "broken.png").write_bytes(b"\x89PNG and no more")
    whole = (tmp_path / "dot" / "1.png").read_bytes()
    (tmp_path / "dot" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dot" / "empty.jpg").write_bytes(b"")
    (tmp_path / "dot" / "notes.txt").write_text("no image", encoding="utf-8")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "nothing").mkdir()
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "loose.png")
    found = read_images(tmp_path)
    assert len(found) == 40
    said = "\n".join(found.notes)
    for words in (
        "3 of 43 files cannot be read and are left out",
        "broken.png (not a PNG, JPEG, WebP, BMP, GIF or TIFF image)",
        "cut.png",
        "empty.jpg",
        "1 images that are in no class folder",
        "`nothing` without",
    ):
        assert words in said, (words, said)


def test_folders_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    def refused(words: str) -> None:
        with pytest.raises(DataError, match=words):
            read_images(tmp_path)

    refused("class folders with images in `data`, got none in .*, it is empty")
    (tmp_path / "a.csv").write_text("x\n1\n", encoding="utf-8")
    refused(r"got none in .* but `a\.csv`.*Make a folder for each class")
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "loose.png")
    refused("got 1 images without a class folder")
    write_folder(tmp_path, 12, classes=1)
    refused("at least two class folders with images.*got 'bar' alone")
    write_folder(tmp_path, 12, classes=2)
    for i in range(8):
        (tmp_path / "bar" / f"bad{i}.png").write_bytes(b"no")
    refused(r"got 8 of 26 files that cannot be read: bar/bad0\.png \(.*; and 3 more\. Mend them\.")
    with pytest.raises(DataError, match=r"got one image, .*Name the folder"):
        read_images(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"existing file or folder, got .*looze\.png.*Did you mean `loose\.png`"):
        read_images(tmp_path / "looze.png")


def test_names_are_in_the_order_in_which_people_count() -> None:
    assert sorted(["10.png", "2.png", "b1.png", "a10.png", "a9.png"], key=natural) == ["2.png", "10.png", "a9.png", "a10.png", "b1.png"]


def test_what_is_taken_for_images(tmp_path: Path) -> None:
    x, y = some(4)
    renamed = write_idx(tmp_path, "train", x, y, packed=True).rename(tmp_path / "digits.gz")
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert all(map(is_images, [tmp_path, str(tmp_path), renamed, "a.npz", "a.PNG", "b-images-idx3-ubyte", "b-images.idx3-ubyte.gz"]))
    assert not any(map(is_images, [tmp_path / "table.csv", tmp_path / "table.csv.gz", "none.parquet", "none", {"a": [1]}, x]))


# Encoding


def test_means_and_deviations_are_those_of_the_training_rows() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 5, 4), dtype=np.uint8)
    images = Images(pixels, None, None, 0, "npz")
    encoder = ImageEncoder().fit(images, np.arange(10))
    part = pixels[:10] / 255
    np.testing.assert_allclose(encoder.mean, part.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(encoder.sd, part.std((0, 2, 3)), rtol=1e-9)
    x = encoder.transform(images)
    expected = (pixels / 255 - part.mean((0, 2, 3))[:, None, None]) / part.std((0, 2, 3))[:, None, None]
    np.testing.assert_allclose(x.numpy(), expected, atol=2e-6)  # float32 of values up to two
    assert x.dtype == torch.float32 and np.array_equal(encoder.decode(x), pixels)
    again = ImageEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert torch.equal(again.transform(images), x)
    flat = ImageEncoder().fit(Images(np.full((3, 1, 2, 2), 9, np.uint8), None, None, 0, "npz"))
    assert flat.sd == (1.0,) and flat.transform(np.full((1, 1, 2, 2), 9, np.uint8)).abs().max() < 1e-6


def test_batches_are_the_rows_whatever_their_number(tmp_path: Path) -> None:
    x, y = some(11)
    write_folder(tmp_path / "f", 11, sizes=((6, 6), (12, 9)))
    sources = (write_idx(tmp_path / "i", "train", x, y), save(tmp_path / "a.npz", x=x, y=y), tmp_path / "f")
    encoder = ImageEncoder().fit(read_images(sources[0]))
    for source in sources:
        batches = encoder.batches(source, rows=4)
        parts = list(batches)
        assert [len(part) for part in parts] == [4, 4, 3] and (batches.done, batches.total, batches.notes) == (1.0, 11, [])
        assert torch.equal(torch.cat([encoder.encode(part) for part in parts]), encoder.transform(source))
    assert [name for part in encoder.batches(tmp_path / "f", rows=4) for name in part.names or ()][:2] == ["bar/0.png", "bar/2.png"]
    (tmp_path / "f" / "bar" / "bad.png").write_bytes(b"no")
    batches = encoder.batches(tmp_path / "f")
    assert sum(map(len, batches)) == 11 and "bar/bad.png" in batches.notes[0]
    (tmp_path / "t.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"Expected images as the model was fitted on, got .*t\.csv"):
        encoder.batches(tmp_path / "t.csv")


def test_other_sizes_and_colors_are_brought_to_those_of_the_fit() -> None:
    pixels = np.full((2, 3, 8, 6), 100, np.uint8)
    assert np.unique(brought_to(pixels, (1, 4, 4))).tolist() == [100]
    gray = brought_to(np.stack([np.full((3, 3), v, np.uint8) for v in (255, 0, 0)])[None], (1, 3, 3))
    assert np.unique(gray).tolist() == [76]  # 0.299 of red
    with pytest.raises(DataError, match="Expected images with color, got 2 channels"):
        brought_to(pixels[:, :2], (3, 8, 6))
    with pytest.raises(DataError, match=r"uint8 \(n, channels, height, width\), got float32"):
        ImageEncoder().transform(np.zeros((1, 1, 2, 2), np.float32))


# Real ones


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.skipif(not (REAL / n).is_dir(), reason=f"the images {n} are not there")) for n in ("mnist", "fashion-mnist")]
)
def test_mnist(name: str) -> None:
    found = read_images(REAL / name)
    assert (found.pixels.shape, found.untouched, found.kind) == ((70_000, 1, 28, 28), 10_000, "idx")
    counts = np.bincount(found.labels[-10_000:])
    assert counts.tolist() == ([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009] if name == "mnist" else [1000] * 10)
    encoder = ImageEncoder().fit(found, np.arange(60_000))
    published = (0.1307, 0.3081) if name == "mnist" else (0.2860, 0.3530)
    assert (*encoder.mean, *encoder.sd) == pytest.approx(published, abs=5e-5)


@pytest.mark.skipif(not (REAL / "digits.npz").is_file(), reason="the images digits.npz are not there")
def test_digits() -> None:
    from sklearn.datasets import load_digits

    found, expected = read_images(REAL / "digits.npz"), load_digits()
    assert np.array_equal(found.pixels[:, 0], expected.images.astype(np.uint8)) and np.array_equal(found.labels, expected.target)
