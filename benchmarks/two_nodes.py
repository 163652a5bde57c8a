"""A Ray cluster of two nodes on this machine, one core each, until its input ends: ``python -m benchmarks.two_nodes`` prints its address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def two_nodes(cores: int = 1, nodes: int = 2) -> Generator[tuple[str, int]]:
    """The address of a cluster, and the process that holds it."""
    command = [sys.executable, "-m", "benchmarks.two_nodes", str(cores), str(nodes)]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError("Expected a Ray cluster, got none: is Ray installed?")
            yield address, process.pid
        finally:
            process.stdin.close()
            process.wait(60)


def training(holder: int) -> list[int]:
    """The workers of a cluster that train at this moment, by the process that holds it."""
    parents: dict[int, int] = {}
    busy: list[int] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            if (folder / "cmdline").read_bytes().startswith(b"ray::Worker.do"):
                busy.append(int(folder.name))
        except (OSError, ValueError):  # it has ended
            continue
    return [pid for pid in busy if parents.get(parents[pid]) == holder]


if __name__ == "__main__":
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": int(sys.argv[1]), "include_dashboard": False})
    for _ in range(int(sys.argv[2]) - 1):
        cluster.add_node(num_cpus=int(sys.argv[1]))
    print(cluster.address, flush=True)
    sys.stdin.read()
    cluster.shutdown()
