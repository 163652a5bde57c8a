"""One of two processes of the test of the attached form under DistributedDataParallel: `ddp_worker.py RANK FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import temperance as tp


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    out: dict[str, Any] = {"refused": {}}
    for regularizer in (tp.SAM(), tp.DropConnect(), tp.VAT()):
        try:
            tp.Cocktail(regularizer).attach(model, optimizer, nn.CrossEntropyLoss())
        except tp.ConfigError as error:
            out["refused"][type(regularizer).__name__] = str(error)
    cocktail = tp.Cocktail(tp.L2(0.01), tp.Dropout(0.5), tp.MixUp(0.4), tp.GradClip(1.0), tp.GradientNoise(0.1), tp.L1(0.05), tp.MaxNorm(0.8), tp.EMA(0.5))
    reg = cocktail.attach(model, optimizer, nn.CrossEntropyLoss(), seed=3, total_steps=10)
    x, y = torch.ones(6, 4), torch.arange(6) % 3
    masks: list[list[float]] = []
    handle = net[2].register_forward_hook(lambda module, args, h: masks.append((h[0] == 0).float().tolist()))
    for i in range(3):
        g = torch.Generator().manual_seed(10 * i + rank)
        rows = x + torch.randn(6, 4, generator=g)
        for part in (0, 1):  # two micro-batches, the first without communication
            if part == 0:
                with model.no_sync():
                    reg.loss(rows, y).backward()
            else:
                changed, target = reg.batch(rows, y)
                (nn.functional.cross_entropy(model(changed), target) + reg.penalty()).backward()
        optimizer.step()
        optimizer.zero_grad()
    handle.remove()
    out["masks"] = masks
    out["parameters"] = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
    out["average"] = torch.cat([t.flatten() for t in reg.state["ema"].values()]).tolist()
    first = next(net.parameters()).detach()
    out["zeros"], out["longest"] = int(first.eq(0).sum()), float(first.norm(dim=1).max())
    reg.detach()
    (folder / f"{rank}.json").write_text(json.dumps(out), encoding="utf-8")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
