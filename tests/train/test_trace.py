"""A traced step is the step: the same bits, and a function that cannot be traced runs as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import temperance as tp
from temperance.train import trace


def population(norm: str | None, way: str, steps: int) -> tp.Population:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 6, generator=generator), torch.randint(0, 3, (200,), generator=generator)
    data = tp.data.as_dataset(x, y.numpy())
    everything = tp.Cocktail(
        tp.LabelSmoothing(0.1),
        tp.MixUp(0.2),
        tp.CutMix(0.5),
        tp.InputNoise(0.1),
        tp.Dropout(0.2),
        tp.DropConnect(0.1),
        tp.L2(1e-3),
        tp.L1(1e-3),
        tp.MaxNorm(2.0),
    )
    everything = tp.Cocktail(everything, tp.GradClip(1.0), tp.SAM(0.05), tp.VAT(1.0), tp.EMA(0.9), tp.Lookahead(0.5))
    members = [tp.Member(everything.with_strengths({"l2.lam": 1e-3 * i}), tp.optim.AdamW(tp.schedules.FlatCosine(3e-3)), seed=i) for i in range(3)]
    network = tp.nets.build_seeded(lambda: tp.nets.MLP(6, 3, hidden=(16,), norm=norm), 0)
    return tp.Population(network, members, data, data, batch_size=32, total_steps=steps, way=way)


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("way", ["vmap", "loop"])
def test_replay_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, norm: str | None, way: str) -> None:
    results = []
    for after, repaid in ((3, 5), (10**9, 10**9)):
        monkeypatch.setattr(trace, "AFTER", after)
        monkeypatch.setattr(trace, "REPAID", repaid)
        made = population(norm, way, 24)
        made.run(12)
        traced = [chunk.group._forward_backward.traced and chunk.group._finish.traced for chunk in made.chunks]
        assert all(traced) if after == 3 else not any(traced)
        results.append(made.run())
    for one, other in zip(*results, strict=True):
        assert one.history == other.history
        assert one.final is not None
        assert other.final is not None
        assert all(torch.equal(one.final[name], other.final[name]) for name in one.final)


def test_compaction_goes_back_to_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "AFTER", 2)
    monkeypatch.setattr(trace, "REPAID", 5)
    made = population(None, "vmap", 40)
    made.run(10)
    group = made.chunks[0].group
    assert group._forward_backward.traced
    made.keep([0, 2], "dropped")
    assert not group._forward_backward.traced
    made.run(20)
    assert group._forward_backward.traced


def test_what_cannot_be_traced_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "AFTER", 1)
    monkeypatch.setattr(trace, "REPAID", 0)
    calls = []

    def changing(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x * len(calls)  # another result at every call: no graph can stand for it

    traced = trace.Traced(changing)
    assert float(traced(torch.ones(()), ahead=10)) == 1.0
    assert not traced.traced
    assert "differ" in traced.refused

    def branching(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum().item() > 0 else x - 1

    refused = trace.Traced(branching)
    assert [float(refused(torch.tensor(v), ahead=10)) for v in (1.0, -1.0)] == [2.0, -2.0]
    assert refused.refused


def test_a_changed_strength_needs_no_new_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for after, repaid in ((2, 5), (10**9, 10**9)):
        monkeypatch.setattr(trace, "AFTER", after)
        monkeypatch.setattr(trace, "REPAID", repaid)
        made = population(None, "vmap", 40)
        made.run(10)
        group = made.chunks[0].group
        graph = group._forward_backward._graph
        group.values["l2.lam"] = group.values["l2.lam"] + 0.5
        group.train_step()
        assert group._forward_backward._graph is graph
        assert (graph is not None) == (after == 2)
        results.append(group.arena.flat.clone())
    assert torch.equal(*results)


def test_an_improved_graph_is_used_where_it_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "AFTER", 0)
    monkeypatch.setattr(trace, "REPAID", 0)
    tried: list[str] = []

    def replacing(operator: Any) -> Any:
        def improve(graph: Any) -> None:
            for node in graph.graph.nodes:
                if node.op == "call_function":
                    node.target = operator
                    tried.append(str(operator))
            graph.recompile()

        return improve

    for operator, same in ((torch.add, False), (torch.mul, True)):
        traced = trace.Traced(lambda x: x * x, replacing(operator))
        for _ in range(3):
            assert float(traced(torch.tensor(3.0), ahead=10)) == 9.0
        assert traced.traced and (operator.__name__ in traced._graph.code) is same
    assert len(tried) == 2
