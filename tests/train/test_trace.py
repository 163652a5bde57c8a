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
    for repaid in (5, 10**9):
        monkeypatch.setattr(trace, "REPAID", repaid)
        made = population(norm, way, 24)
        made.run(12)
        traced = [chunk.group._forward_backward.traced and chunk.group._finish.traced for chunk in made.chunks]
        assert all(traced) if repaid == 5 else not any(traced)
        results.append(made.run())
    for one, other in zip(*results, strict=True):
        assert one.history == other.history
        assert one.final is not None
        assert other.final is not None
        assert all(torch.equal(one.final[name], other.final[name]) for name in one.final)


def test_compaction_goes_back_to_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(trace, "REPAID", 0)
    calls = []

    def changing(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return x * len(calls)  # another result at every call: no graph can stand for it

    traced = trace.Traced(changing)
    assert [float(traced(torch.ones(()), ahead=10)) for _ in range(3)] == [1.0, 2.0, 3.0]
    assert not traced.traced
    assert "differ" in traced.refused

    def branching(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if x.sum().item() > 0 else x - 1

    refused = trace.Traced(branching)
    assert [float(refused(torch.tensor(v), ahead=10)) for v in (1.0, -1.0)] == [2.0, -2.0]
    assert "number" in refused.refused


def test_a_graph_is_compared_on_other_inputs_than_it_was_recorded_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 0)
    held = torch.zeros(2)

    def through_memory(x: torch.Tensor) -> torch.Tensor:
        held.numpy()[:] = x.detach().numpy()  # past torch's operators: the graph sees what an earlier call left there
        return 2 * held

    for function, results in ((through_memory, [2.0, 4.0, 6.0]), (lambda x: x.sum(0, keepdim=True) * len(x), [1.0, 4.0, 9.0])):
        traced = trace.Traced(function)
        inputs = [torch.full((2,), float(i)) for i in range(1, 4)] if function is through_memory else [torch.ones(n) for n in (1, 2, 3)]
        assert [float(traced(x, ahead=10)[0]) for x in inputs] == results
        assert "differ" in traced.refused and not traced.traced


def test_a_result_of_another_form_is_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 0)
    traced = trace.Traced(lambda x: {f"of {len(x)} rows": x.sum()})
    assert [list(traced(torch.ones(n), ahead=10)) for n in (1, 2, 3)] == [["of 1 rows"], ["of 2 rows"], ["of 3 rows"]]
    assert "differ" in traced.refused


def test_a_tensor_in_two_places_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As states are before their first step: which of the two the graph should read cannot be told."""
    monkeypatch.setattr(trace, "REPAID", 0)
    traced = trace.Traced(lambda a, b: 10 * a + b)
    same = torch.ones(())
    assert [float(traced(same, same, ahead=10)) for _ in range(3)] == [11.0] * 3
    assert not traced.traced and not traced.refused
    assert [float(traced(torch.tensor(i), torch.tensor(2.0), ahead=10)) for i in (1.0, 2.0, 3.0)] == [12.0, 22.0, 32.0]
    assert traced.traced


def test_leaves_that_are_no_tensors_stay_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 0)
    traced = trace.Traced(lambda x, rows: (x + 1, rows, {"none": None, "number": 3}))
    for i in range(4):
        out = traced(torch.tensor(float(i)), None, ahead=10)
        assert (float(out[0]), out[1:]) == (i + 1.0, (None, {"none": None, "number": 3}))
    assert traced.traced


def test_a_replay_that_fails_gives_way_to_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 0)
    traced = trace.Traced(lambda x: x.reshape(len(x) // 2, 2).sum(1))
    assert [traced(torch.ones(n), ahead=10).tolist() for n in (4, 4, 6)] == [[2.0, 2.0], [2.0, 2.0], [2.0, 2.0, 2.0]]
    assert "RuntimeError" in traced.refused and not traced.traced
    traced.forget()
    for _ in range(2):
        traced(torch.ones(6), ahead=10)
    assert traced.traced, "with other shapes it has another chance"


@pytest.mark.parametrize("call", [0, 1, 2])
def test_want_of_memory_is_told_and_refuses_nothing(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The caller then trains fewer networks at once."""
    monkeypatch.setattr(trace, "REPAID", 0)
    calls: list[int] = []

    def no_room(*leaves: Any) -> Any:
        raise MemoryError

    traced = trace.Traced(lambda x: no_room() if calls == [0] and call == 0 else x + 1)
    for i in range(call):
        traced(torch.ones(2), ahead=10)
        calls.append(i)
    calls.append(call)
    if call == 2:
        monkeypatch.setattr(traced, "_graph", no_room)
    if call == 1:
        monkeypatch.setattr(trace, "_replay", no_room)
        assert traced(torch.ones(2), ahead=10).tolist() == [2.0, 2.0], "both at once do not fit: the function alone does"
        return
    with pytest.raises(MemoryError):
        traced(torch.ones(2), ahead=10)
    assert not traced.refused


def test_after_graphs_that_did_not_repay_themselves_more_calls_must_lie_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 5)
    traced = trace.Traced(lambda x: 2 * x)

    def calls(count: int, ahead: int) -> bool:
        for _ in range(count):
            traced(torch.ones(2), ahead=ahead)
        used = traced.traced
        traced.forget()
        return used

    assert calls(4, 9), "the first one is recorded, and did not repay itself"
    assert not calls(4, 9) and calls(4, 10)
    assert not calls(30, 19) and calls(30, 20), "this one did"
    assert not calls(4, 19) and calls(4, 20)


def test_a_graph_that_fails_on_other_inputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 0)
    traced = trace.Traced(lambda x: x.reshape(len(x) // 2, 2).sum(1))
    assert [traced(torch.ones(n), ahead=10).tolist() for n in (2, 4, 6)] == [[2.0], [2.0, 2.0], [2.0, 2.0, 2.0]]
    assert "RuntimeError" in traced.refused


def test_shapes_that_change_before_the_comparison_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "REPAID", 0)
    traced = trace.Traced(lambda tree: {name: 2 * t for name, t in tree.items()})
    a, b = torch.ones(2), torch.ones(3)
    traced({"a": a}, ahead=10)
    assert list(traced({"a": a, "b": b}, ahead=10)) == ["a", "b"]
    assert not traced.traced and not traced.refused
    traced({"a": a}, ahead=10)
    traced.forget()
    traced({"a": b}, ahead=10)
    assert not traced.traced
    assert traced({"a": b}, ahead=10)["a"].shape == (3,)
    assert traced.traced


def test_a_changed_strength_needs_no_new_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for repaid in (5, 10**9):
        monkeypatch.setattr(trace, "REPAID", repaid)
        made = population(None, "vmap", 40)
        made.run(10)
        group = made.chunks[0].group
        graph = group._forward_backward._graph
        group.values["l2.lam"] = group.values["l2.lam"] + 0.5
        group.train_step()
        assert group._forward_backward._graph is graph
        assert (graph is not None) == (repaid == 5)
        results.append(group.arena.flat.clone())
    assert torch.equal(*results)


def test_an_improved_graph_is_used_where_it_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
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
