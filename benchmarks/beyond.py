"""Claim: `temperance fit` trains on a Parquet file whose encoded rows are three times `--memory`, with peak memory of the setting and a constant.

The constant is what the same command needs for a table of 2,000 rows: Python, torch, pyarrow, pandas, and the compiler. Each fit runs in a process of its
own, whose peak resident memory is read from the operating system when it has ended. The table has numbers only, so that encoded rows are four bytes a
cell; its rows are sorted by the target, the worst order for a reader that takes the first ones.

    python -m benchmarks.beyond [--memory 1G] [--times 3] [--columns 100] [--budget 120] [--folder FOLDER] [--out benchmarks/results/beyond.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Only the standard library here: the peak memory of a process that is started counts from the memory of the one that starts it.

SMALL = 2_000
WRITING = """
import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq
path, rows, columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng, writer = np.random.default_rng(0), None
for part in range(2):  # one class after the other
    left = rows // 2
    while left:
        n = min(left, 20_000)
        x = rng.normal(size=(n, columns)).astype(np.float32)
        x[:, 0] += part
        x[:, 1] *= 1 + part
        table = pa.table({**{f"x{i}": x[:, i] for i in range(columns)}, "y": pa.array([f"class {part}"] * n)})
        writer = writer or pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=["y"])
        writer.write_table(table)
        left -= n
writer.close()
"""


def bytes_of(text: str) -> int:
    """Bytes of a setting such as 512M or 1G."""
    return int(float(text[:-1]) * {"K": 2**10, "M": 2**20, "G": 2**30}[text[-1].upper()])


def fitted(path: Path, folder: str, memory: str, budget: float) -> dict[str, Any]:
    """Fit a table in a process of its own: seconds, peak memory in megabytes, and what came of it."""
    out = Path(folder) / f"{path.stem}-out"
    order = ["-m", "temperance", "fit", str(path), "--target", "y", "--memory", memory, "--budget", f"{budget:g}s", "--out", str(out)]
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, *order], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    row = {"seconds": round(time.monotonic() - began, 1), "peak_mb": round(used.ru_maxrss / 1024), "status": os.waitstatus_to_exitcode(status)}
    if row["status"]:
        return row
    summary = json.loads((out / "summary.json").read_text())
    score = summary["scores"]["test"][summary["metric"]["name"]]["value"]
    return row | {"rows": summary["data"]["rows"], "steps": sum(t["steps"] for t in summary["search"]["table"]), summary["metric"]["name"]: round(score, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--times", type=float, default=3.0, help="encoded rows in units of --memory")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--budget", type=float, default=120.0)
    parser.add_argument("--folder", type=Path, help="on the disk that takes the table and its encoded rows; default: a temporary one")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "beyond.json")
    asked = parser.parse_args()
    rows = int(asked.times * bytes_of(asked.memory) / (4 * asked.columns)) // 2 * 2
    found: dict[str, Any] = {"memory": asked.memory, "times": asked.times, "columns": asked.columns, "cores": os.cpu_count()}
    found["machine"] = platform.machine()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for name, n in (("small", SMALL), ("large", rows)):
            path = Path(folder) / f"{name}.parquet"
            subprocess.run([sys.executable, "-c", WRITING, str(path), str(n), str(asked.columns)], check=True)
            found[name] = fitted(path, folder, asked.memory, asked.budget)
            print(name, json.dumps(found[name]), flush=True)
    found["beyond_the_constant_mb"] = found["large"]["peak_mb"] - found["small"]["peak_mb"]
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
