"""Two processes with gloo: each its own masks, all the same network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("ddp_worker.py")


@pytest.mark.skipif(not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="this build of torch has no gloo")
def test_two_processes(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, str(WORKER), str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)]
    said = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    a, b = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for out in (a, b):
        assert set(out["refused"]) == {"SAM", "DropConnect", "VAT"}
        for name, message in out["refused"].items():
            assert message.startswith(f"{name} call the network's parameters directly, which DistributedDataParallel does not allow")
    assert a["parameters"] == b["parameters"] and a["average"] == b["average"]
    assert a["zeros"] > 0 and a["longest"] < 0.8 + 1e-6
    assert a["masks"] != b["masks"]
    assert len(a["masks"]) >= 6
