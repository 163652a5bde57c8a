"""Claim: temperance costs little beside the training: it starts at once, predicts at least as fast as scikit-learn's MLP, and needs memory for its data.

Measured, each in processes of their own: CPU seconds of `temperance --help` (wanted: below 0.3) and of `import temperance` beyond `import torch`
(below 1); rows predicted a second by an estimator and by scikit-learn's MLPClassifier of the same hidden layers on the same rows, in float64 and
float32, alone and behind the StandardScaler that does what ours does to its inputs (at least as many as alone for one network; an average is counted
by network); seconds of `temperance predict` on CSV and Parquet files beside a script that reads the file with pandas and predicts with a scikit-learn
pipeline; peak memory of `temperance predict` for files of growing length (the same, to a tenth, for one and two million rows); peak memory of
`temperance fit` for tables of three sizes, and the line a + b bytes through them; with `--clone`, seconds from a fresh clone to the end of `make demo`.

Ours and its rival take turns (A B A B) in the same run, n = `--repeats` each (5), and medians count; seeds are 0. A losing row is printed like a
winning one. Hardware, versions and date are in the JSON file, with one row for each measurement.

    python benchmarks/everyday.py [--parts start,inference,command,stream,fit] [--repeats 5] [--clone] [--out benchmarks/results/everyday.json]
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Only the standard library here: the peak memory of a process that is started counts from the memory of the one that starts it.

PARTS = ("start", "inference", "command", "stream", "fit")
NETWORKS = (((100,), 20), ((256, 256), 20), ((256, 256, 256), 50), ((512, 512, 512), 100))
ROWS = (1, 100, 1_000, 10_000, 100_000)
LENGTHS = (200_000, 1_000_000, 2_000_000)
TABLES = ((10_000, 10), (100_000, 10), (100_000, 100))
ROOT = Path(__file__).resolve().parent.parent
Row = dict[str, Any]


def spent(command: list[str], cwd: Path | None = None) -> tuple[float, float, float]:
    """Wall-clock seconds, CPU seconds and peak MiB of a process that must succeed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=cwd, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said.read().decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def turns(repeats: int, *measured: Callable[[], float]) -> list[float]:
    """The median of each, taken in turns after one run of each that does not count."""
    times: list[list[float]] = [[] for _ in measured]
    for turn in range(repeats + 1):
        for kept, measure in zip(times, measured, strict=True):
            value = measure()
            if turn:
                kept.append(value)
    return [statistics.median(kept) for kept in times]


def temperance(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "temperance", *map(str, arguments)]


def myself(*arguments: object) -> list[str]:
    return [sys.executable, __file__, *map(str, arguments)]


def start(repeats: int) -> list[Row]:
    def cpu(command: list[str]) -> Callable[[], float]:
        return lambda: spent(command)[1]

    def python(code: str) -> Callable[[], float]:
        return cpu([sys.executable, "-c", code])

    codes = ("import torch", "import torch, temperance", "import torch, temperance; temperance.TemperanceClassifier", "import torch, sklearn.neural_network")
    shown, torch, ours, used, rival = turns(repeats, cpu(temperance("--help")), *map(python, codes))
    return [
        {"part": "start", "what": "temperance --help, CPU s", "ours": shown, "wanted": 0.3},
        {"part": "start", "what": "import temperance beyond torch, CPU s", "ours": ours - torch, "wanted": 1.0, "torch": torch},
        {"part": "start", "what": "with TemperanceClassifier beyond torch, CPU s", "ours": used - torch, "rival": rival - torch, "torch": torch},
    ]


def inference(repeats: int) -> list[Row]:
    """In a process of its own, which prints its rows."""
    import warnings

    import numpy as np
    from sklearn.base import clone
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import temperance as tp

    warnings.simplefilter("ignore")
    out: list[Row] = []
    for hidden, columns in NETWORKS:
        x = np.random.default_rng(0).normal(size=(max(ROWS), columns))
        y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
        for dtype in ("float64", "float32"):
            rows = x.astype(dtype)

            def build(data: Any, hidden: tuple[int, ...] = hidden) -> Any:
                return tp.nets.MLP(data.in_features, data.out_features, hidden=hidden)

            ours = {
                k: tp.TemperanceClassifier(tp.Cocktail(), model=build, steps=2, refits=k, random_state=0).fit(rows[:1000], y[:1000])
                for k in ((1, 4) if dtype == "float64" else (1,))
            }
            rival = MLPClassifier(hidden, max_iter=2, random_state=0)
            scaled = make_pipeline(StandardScaler(), clone(rival)).fit(rows[:1000], y[:1000])
            rival.fit(rows[:1000], y[:1000])
            for n in ROWS:
                for networks, model in ours.items():
                    mine, theirs, both = turns(repeats, *(_each(each, rows[:n]) for each in (model, rival, scaled)))
                    what = f"{'-'.join(map(str, hidden))}, {columns} columns, {dtype}, {n:,} rows, networks {networks}"
                    speed = {"ours": networks * n / mine, "rival": n / theirs, "ratio": networks * theirs / mine, "ratio_scaled": networks * both / mine}
                    out.append({"part": "inference", "what": f"rows/s and network: {what}", **speed, "wanted_ratio": 1.0})
    return out


def _each(model: Any, rows: Any) -> Callable[[], float]:
    """Seconds of a prediction, long enough to be timed."""
    times = max(1, 2_000 // len(rows))

    def measure() -> float:
        began = time.perf_counter()
        for _ in range(times):
            model.predict(rows)
        return (time.perf_counter() - began) / times

    return measure


def make_table(path: Path, rows: int, columns: int) -> None:
    """A table with two categories and a target, written some rows at a time."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, 50_000):
        n = min(50_000, rows - start)
        x = rng.normal(size=(n, columns - 2))
        frame = pd.DataFrame({f"x{i}": x[:, i] for i in range(columns - 2)})
        frame["job"], frame["town"] = rng.choice(["cook", "smith", "pilot"], n), rng.choice([f"town {i}" for i in range(40)], n)
        frame["y"] = np.where(x[:, 0] + x[:, 1] * (frame["job"] == "cook") + rng.normal(size=n) > 0, "yes", "no")
        if path.suffix == ".csv":
            frame.to_csv(path, index=False, mode="a" if start else "w", header=not start)
        else:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    if writer is not None:
        writer.close()


def rival_fit(data: str, model: str) -> None:
    """A scikit-learn pipeline with the network of `small_model`."""
    import pickle
    import warnings

    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    warnings.simplefilter("ignore")
    frame = pd.read_csv(data)
    numbers = [name for name in frame.columns if name.startswith("x")]
    encode = ColumnTransformer([("x", StandardScaler(), numbers), ("c", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["job", "town"])])
    Path(model).write_bytes(pickle.dumps(make_pipeline(encode, MLPClassifier((256, 256), max_iter=2)).fit(frame.drop(columns="y"), frame["y"])))


def rival_predict(model: str, data: str, out: str) -> None:
    import pickle

    import pandas as pd

    frame = pd.read_csv(data) if data.endswith(".csv") else pd.read_parquet(data)
    pd.DataFrame({"prediction": pickle.loads(Path(model).read_bytes()).predict(frame)}).to_csv(out, index=False)


NETWORK = """
import temperance as tp

def build(data):
    return tp.nets.TabularNet(data.in_features, data.cardinalities, data.out_features, hidden=(256, 256))
"""


def small_model(folder: Path) -> tuple[Path, str, int]:
    """A fit with a network of 256-256 on 12 columns: its folder, the option for its own network, and how many networks it averages."""
    spent(myself("--make", folder / "small.csv", 2_000, 12))
    (folder / "net.py").write_text(NETWORK, encoding="utf-8")
    option = f"{folder / 'net.py'}:build"
    spent(temperance("fit", folder / "small.csv", "--target", "y", "--trials", 2, "--model", option, "--out", folder / "model", "--overwrite"))
    meta = json.loads((folder / "model" / "model" / "model.json").read_text(encoding="utf-8"))
    return folder / "model", option, len(meta.get("average") or [0])


def command(repeats: int) -> list[Row]:
    out: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, option, networks = small_model(folder)
        spent(myself("--rival-fit", folder / "small.csv", folder / "rival.pkl"))
        for rows in (1_000, 200_000):
            for suffix in ("csv", "parquet"):
                data = folder / f"{rows}.{suffix}"
                spent(myself("--make", data, rows, 12))
                mine = temperance("predict", model, data, "--model", option, "--out", folder / "ours.csv")
                theirs = myself("--rival-predict", folder / "rival.pkl", data, folder / "theirs.csv")
                ours, rival = turns(repeats, lambda mine=mine: spent(mine)[0], lambda theirs=theirs: spent(theirs)[0])
                what = f"seconds of `temperance predict`: {rows:,} rows of 12 columns, {suffix}, start-up included"
                out.append({"part": "command", "what": what, "ours": ours, "rival": rival, "ratio": rival / ours, "networks": networks})
    return out


def stream(repeats: int) -> list[Row]:
    out: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, option, networks = small_model(folder)
        for suffix in ("parquet", "csv"):
            peaks: dict[int, float] = {}
            for rows in LENGTHS:
                data = folder / f"data.{suffix}"
                spent(myself("--make", data, rows, 12))
                runs = [spent(temperance("predict", model, data, "--model", option, "--out", folder / f"out.{suffix}")) for _ in range(min(repeats, 3))]
                seconds, _, peaks[rows] = (statistics.median(values) for values in zip(*runs, strict=True))
                size = data.stat().st_size / (1 << 20)
                what = f"peak MiB of `temperance predict`: {rows:,} rows, {suffix}"
                out.append({"part": "stream", "what": what, "ours": peaks[rows], "file_mib": size, "seconds": seconds, "networks": networks})
                data.unlink()
            _, half, whole = LENGTHS
            what = f"peak MiB for {whole:,} rows less that for {half:,}, {suffix}"
            out.append({"part": "stream", "what": what, "ours": peaks[whole] - peaks[half], "wanted": 0.1 * peaks[half]})
    return out


def fit(repeats: int) -> list[Row]:
    out: list[Row] = []
    sizes: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = spent([sys.executable, "-c", "import torch, temperance.job"])[2]
        for rows, columns in TABLES:
            data = folder / f"{rows}-{columns}.csv"
            spent(myself("--make", data, rows, columns))
            seconds, _, peak = spent(temperance("fit", data, "--target", "y", "--budget", "25s", "--out", folder / "fit", "--overwrite"))
            sizes.append(rows * columns * 8 / (1 << 20))
            what = f"peak MiB of `temperance fit --budget 25s`: {rows:,} rows x {columns} columns"
            out.append({"part": "fit", "what": what, "ours": peak, "table_mib": sizes[-1], "imports_mib": base, "seconds": seconds})
            data.unlink()
    intercept, slope = statistics.linear_regression(sizes, [row["ours"] for row in out])[::-1]
    out.append({"part": "fit", "what": "peak MiB = a + b x MiB of the table as float64: b", "ours": slope, "a": intercept})
    return out


def from_clone() -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "temperance"
        cloned = spent(["git", "clone", "--quiet", str(ROOT), str(copy)])[0]
        installed = spent(["make", ".venv/.stamp-runs"], copy)[0]
        demo = spent(["make", "demo"], copy)[0]
    total = cloned + installed + demo
    return [{"part": "clone", "what": "s from `git clone` to the end of `make demo`", "ours": total, "clone": cloned, "install": installed, "demo": demo}]


def show(row: Row) -> None:
    numbers = "".join(f"  {key} {row[key]:,.4g}" for key in ("ours", "rival", "ratio", "ratio_scaled", "wanted") if key in row)
    missed = row.get("ratio", 1.0) < row.get("wanted_ratio", 0.0) or row["ours"] > row.get("wanted", float("inf"))
    print(f"{row['part']:10}{row['what']:92}{numbers}{'  missed' if missed else ''}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="of " + ", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clone", action="store_true", help="clone this repository, install it and time make demo (minutes)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "everyday.json")
    for hidden in ("--make", "--rival-fit", "--rival-predict", "--inference"):
        parser.add_argument(hidden, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return make_table(Path(options.make[0]), *map(int, options.make[1:]))
    if options.rival_fit:
        return rival_fit(*options.rival_fit)
    if options.rival_predict:
        return rival_predict(*options.rival_predict)
    if options.inference:
        Path(options.inference[0]).write_text(json.dumps(inference(int(options.inference[1]))), encoding="utf-8")
        return None

    rows: list[Row] = []
    measures: dict[str, Callable[[int], list[Row]]] = {"start": start, "inference": _apart, "command": command, "stream": stream, "fit": fit}
    wanted = [part for part in options.parts.split(",") if part]
    for part in wanted:
        if part not in measures:
            parser.error(f"expected --parts of {', '.join(PARTS)}, got {part!r}")
    began = time.monotonic()
    for done, part in enumerate(wanted):
        print(f"{part}: part {done + 1} of {len(wanted)}, {time.monotonic() - began:.0f} s so far", file=sys.stderr, flush=True)
        found = measures[part](options.repeats)
        rows += found
        for row in found:
            show(row)
    if options.clone:
        rows += from_clone()
        show(rows[-1])
    before = json.loads(options.out.read_text(encoding="utf-8"))["rows"] if options.out.exists() else []
    parts = {row["part"] for row in rows}
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("torch", "numpy", "pandas", "pyarrow", "scikit-learn")},
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "repeats": options.repeats,
    }
    kept = [row for row in before if row["part"] not in parts]
    options.out.write_text(json.dumps({"rows": kept + [{**row, **about} for row in rows]}, indent=1) + "\n", encoding="utf-8")


def _apart(repeats: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        spent(myself("--inference", Path(folder) / "rows.json", repeats))
        return json.loads((Path(folder) / "rows.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
