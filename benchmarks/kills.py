"""Claim: a fit that is killed at any moment and resumed leaves the same files as one that was not.

A study on a table of 400 rows, of at most some 20 seconds (`temperance fit --trials 24`, one thread), runs once to its end. Then `--runs` times (50) it is
killed by SIGKILL, at moments uniform in its time, and given again with `--resume`; a run that ends before its moment is not counted. What is compared, by
SHA-256: the model's weights, its JSON file, the cocktail, the histories of all trials, and the predictions for all rows. With `--engine ray` trials train
on two nodes of one core on this machine, and the first, uninterrupted run is by the local engine.

    python -m benchmarks.kills [--runs 50] [--engine local|ray] [--trials 24]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from benchmarks.two_nodes import two_nodes

FILES = ("model/model.safetensors", "model/model.json", "cocktail.json", "history.csv", "predictions.csv")


def make_table(path: Path) -> None:
    draw = np.random.default_rng(0)
    age, job = draw.normal(size=400).round(3), draw.choice(["cook", "smith", "pilot"], 400)
    rich = np.where(age + 0.5 * (job == "pilot") + 0.6 * draw.normal(size=400) > 0.4, "yes", "no")
    pd.DataFrame({"age": age, "job": job, "size": draw.normal(size=400).round(3), "rich": rich}).to_csv(path, index=False)


def temperance(folder: Path, *arguments: str, kill: float | None = None) -> tuple[int, str]:
    """The exit code and the output of a command; killed after so many seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "temperance", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, env=environment) as process:
        if kill is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(kill)
            process.kill()
        return process.wait(), process.communicate()[0]


def hashes(folder: Path, out: str) -> dict[str, str]:
    code, text = temperance(folder, "predict", out, "table.csv", "--proba", "--out", f"{out}/predictions.csv")
    if code:
        raise SystemExit(f"{out} cannot predict:\n{text}")
    return {name: hashlib.sha256((folder / out / name).read_bytes()).hexdigest()[:16] for name in FILES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--engine", default="local")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_table(folder / "table.csv")
        fit = ["fit", "table.csv", "--target", "rich", "--trials", str(asked.trials), "--threads", "1"]
        code, text = temperance(folder, *fit, "--out", "whole")
        if code:
            raise SystemExit(text)
        wanted = hashes(folder, "whole")
        if asked.engine == "ray":
            fit += ["--engine", "ray", "--address", stack.enter_context(two_nodes())[0]]
        began = time.monotonic()
        temperance(folder, *fit, "--out", "timed")
        seconds, counts = time.monotonic() - began, {"same": 0, "killed": 0, "with_trials": 0, "ended_before": 0}
        while counts["killed"] < asked.runs:
            out, moment = f"run{sum(counts.values())}", seconds * (counts["killed"] + 0.5) / asked.runs
            began = time.monotonic()
            temperance(folder, *fit, "--out", out, kill=moment)
            if (folder / out / "summary.json").is_file():  # it was faster than the one that was timed, so that this is no kill
                counts["ended_before"] += 1
                seconds = min(seconds, time.monotonic() - began)
                continue
            counts["killed"] += 1
            counts["with_trials"] += (folder / out / ".run" / "trials" / "trials.jsonl").is_file()
            code, text = temperance(folder, *fit, "--out", out, "--resume")
            if code:
                print(f"{out} cannot go on:\n{text}", flush=True)
                continue
            found = hashes(folder, out)
            counts["same"] += found == wanted
            for name in FILES:
                if found[name] != wanted[name]:
                    print(f"{out}, killed after {moment:.2f} s: other {name}", flush=True)
        print(json.dumps({"engine": asked.engine, "runs": asked.runs, "seconds": round(seconds, 1), **counts}))
    if counts["same"] < asked.runs:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
