"""A diagnosis leaves no trace, keeps type and device, and takes any network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.diagnose.planted import blobs
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.errors import ConfigError, DataError
from temperance.diagnose import CHECKS, Diagnosis, diagnose_function as diagnose


class Everything(nn.Module):
    """BatchNorm, dropout that never stops, tied weights, an in-place activation, a buffer that counts, several outputs."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act, self.second = nn.Linear(10, 10), nn.BatchNorm1d(10), nn.ReLU(inplace=True), nn.Linear(10, 10)
        self.second.weight = self.first.weight
        self.out = nn.Linear(10, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        h = self.act(self.norm(self.first(x)))
        h = F.dropout(self.act(self.second(h)), 0.1, training=True)
        return self.out(h), h


def test_nothing_is_changed(generators_untouched: Callable[[], None]) -> None:
    rows = blobs(120, 0)[:2]
    state = torch.get_rng_state()
    net = Everything()
    torch.set_rng_state(state)
    net.train()
    net.norm.eval()
    net.first.weight.grad = torch.ones(10, 10)
    before = {name: t.detach().clone() for name, t in net.state_dict().items()}
    found = diagnose(net, rows, validation=rows, lr=0.1)
    assert {f.check for f in found} >= {"step", "curvature", "gradients", "units", "pathways", "calibration", "fragility"}
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert (net.training, net.norm.training, net.act.training) == (True, False, True)
    assert torch.equal(net.first.weight.grad, torch.ones(10, 10))
    assert all(p.grad is None for name, p in net.named_parameters() if name != "first.weight")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    generators_untouched()


def test_the_same_seed_gives_the_same_diagnosis() -> None:
    rows = blobs(120, 0)[:2]
    net = tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(32, 16)), 0)
    first, second, other = (diagnose(net, rows, validation=rows, lr=0.1, rows=50, seed=seed).to_dict() for seed in (3, 3, 4))
    assert first == second
    assert first != other
    assert first["rows"] == {"train": 50, "validation": 50}
    json.dumps(first, allow_nan=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_keeps_its_type(dtype: torch.dtype) -> None:
    seen: set[torch.dtype] = set()

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(10, 2)

        def forward(self, x: Tensor) -> Tensor:
            seen.add(x.dtype)
            return self.inner(x)

    net = Spy().to(dtype)
    diagnose(net, blobs(40, 0)[:2], lr=0.1)
    assert seen == {dtype}
    assert net.inner.weight.dtype == dtype


def test_tables_images_heads_and_recurrent_networks() -> None:
    g = torch.Generator().manual_seed(0)
    frame = {"age": torch.randn(80, generator=g).tolist(), "job": ["cook", "smith"] * 40, "rich": ["no", "no", "yes", "yes"] * 20}
    data, encoder, _ = tp.data.table_dataset(frame, "rich")
    table = diagnose(tp.nets.build_seeded(lambda: tp.nets.TabularNet(len(encoder.numeric_names), data.cardinalities, 2, hidden=(8,)), 0), data, lr=0.1)
    assert not [reason for _, reason in table.skipped if "finite" in reason]
    images = torch.randn(30, 1, 8, 8, generator=g), torch.arange(30) % 3
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    found = diagnose(conv, images, lr=0.1)
    assert found["units"].value["units"] == 4
    heads = tp.data.as_dataset(torch.randn(30, 3, generator=g), {"kind": torch.arange(30) % 2, "price": torch.randn(30, generator=g)})

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.act, self.kind, self.price = nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            h = self.act(self.body(x))
            return {"kind": self.kind(h), "price": self.price(h)}

    two = diagnose(Two(), heads, lr=0.1)
    assert dict(two.skipped)["calibration"] == "the network has several heads"
    assert "curvature" in two
    for cell in (nn.LSTM, nn.GRU):

        class Sequence(nn.Module):
            def __init__(self, cell: Any) -> None:
                super().__init__()
                self.cell, self.out = cell(3, 4), nn.Linear(4, 1)

            def forward(self, x: Tensor) -> Tensor:
                return self.out(self.cell(x.transpose(0, 1))[0][-1])

        series = diagnose(Sequence(cell), (torch.randn(20, 6, 3, generator=g), torch.randn(20, generator=g)), checks=["curvature", "gradients"])
        assert series["gradients_in_time"].value["steps"] == 6
        assert series["curvature"].value["largest"] > 0


def test_an_average_of_networks_is_examined_one_by_one() -> None:
    rows = blobs(60, 0)[:2]
    nets = [tp.nets.build_seeded(lambda: tp.nets.MLP(10, 2, hidden=(8,)), seed) for seed in range(2)]
    average = tp.nets.Average(nets, "classification")
    found = diagnose(average, rows, lr=0.1)
    assert found["units"].value["units"] == 16
    assert average.stacked


def test_one_score_for_two_classes_is_the_log_odds() -> None:
    X, y, _ = blobs(100, 0)
    one = tp.nets.build_seeded(lambda: nn.Linear(10, 1), 0)
    two = nn.Linear(10, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat([torch.zeros(1, 10), one.weight]))
        two.bias.copy_(torch.cat([torch.zeros(1), one.bias]))
    a, b = (diagnose(net, (X, y), validation=(X, y), lr=0.1, checks=["step", "gap"]) for net in (one, two))
    assert a["step"].value["loss"] == pytest.approx(b["step"].value["loss"], rel=1e-5)
    assert a["gap"].value["train"] == b["gap"].value["train"]
    given = diagnose(one, (X, y), criterion=nn.BCEWithLogitsLoss(), lr=0.1, checks="step")
    assert given["step"].value["loss"] == pytest.approx(a["step"].value["loss"], rel=1e-5)


def test_log_probabilities_with_their_loss() -> None:
    X, y, _ = blobs(100, 0)
    net = nn.Sequential(nn.Linear(10, 2), nn.LogSoftmax(1))
    found = diagnose(net, (X, y), criterion=nn.NLLLoss(), lr=0.1, checks=["step"])
    exact = F.nll_loss(net(torch.from_numpy(X)), torch.from_numpy(y))
    assert found["step"].value["loss"] == pytest.approx(float(exact.detach()), rel=1e-5)


def test_weights_and_missing_targets_count_as_in_training() -> None:
    X, y, _ = blobs(300, 0)
    weight = torch.linspace(0.1, 2.0, 300)
    data = tp.data.as_dataset(X, [None if k % 3 == 0 else int(v) for k, v in enumerate(y)], weight=weight)
    net = tp.nets.build_seeded(lambda: nn.Linear(10, 2), 0)
    found = diagnose(net, data, lr=0.1, checks="step")
    known = torch.arange(300) % 3 != 0
    each = F.cross_entropy(net(torch.from_numpy(X)), torch.from_numpy(y), reduction="none")[known]
    share = weight[known] / weight[known].sum()
    assert found["step"].value["loss"] == pytest.approx(float((share * each).sum().detach()), rel=1e-5)
    assert found.rows == (200, 0)


def test_what_has_no_second_derivative_is_skipped_with_a_reason() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * 2

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(10, 2)

        def forward(self, x: Tensor) -> Tensor:
            return Once.apply(self.inner(x))  # pyright: ignore[reportReturnType]

    found = diagnose(Net(), blobs(40, 0)[:2], checks=["curvature", "sparsity"])
    assert "second derivatives" in dict(found.skipped)["curvature"]
    assert "sparsity" in found


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"checks": "curvatur"}, r"`checks` of diagnose among .*, got 'curvatur'\. Did you mean 'curvature'\?"),
        ({"lr": -1.0}, r"`lr` of diagnose in \(0, inf\), or an optimizer, got -1\.0"),
        ({"lr": True}, "`lr` of diagnose"),
        ({"rows": 0}, r"`rows` of diagnose in \[1, inf\), got 0"),
        ({"seed": 0.5}, "`seed` of diagnose to be a whole number"),
        ({"model": 3}, r"`model` of diagnose to be a torch\.nn\.Module, got 'int'"),
        ({"model": nn.ReLU()}, "`model` of diagnose to have parameters"),
        ({"model": nn.Linear(10, 3)}, "`data` of diagnose to have targets for 3 outputs of the network"),
        ({"data": 5}, r"`data` of diagnose to be a Dataset or a pair \(X, y\)"),
        ({"validation": 5}, r"`validation` of diagnose to be a Dataset or a pair \(X, y\)"),
        ({"criterion": 5}, "`criterion` to be a loss"),
    ],
)
def test_errors(arguments: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"model": nn.Linear(10, 2), "data": blobs(20, 0)[:2], **arguments}
    with pytest.raises(ConfigError, match=text):
        diagnose(given.pop("model"), given.pop("data"), **given)


def test_rows_without_targets_are_refused() -> None:
    data = tp.data.as_dataset(torch.randn(4, 2), [0, 1, None, None])
    with pytest.raises(DataError, match="at least two rows with a target in `data` of diagnose, got 1"):
        diagnose(nn.Linear(2, 2), data.take([0, 2, 3]))


def test_the_package_is_the_function_too() -> None:
    found = tp.diagnose(tp.nets.build_seeded(lambda: nn.Linear(10, 2), 0), blobs(40, 0)[:2])
    assert isinstance(found, Diagnosis)
    assert {f.check for f in found} | {name for name, _ in found.skipped} == set(CHECKS)
    text = str(found)
    assert text.startswith(f"Causes: {', '.join(found.causes) or 'none found'}.")
    assert all(f.name in text and f.meaning.split()[0] in text for f in found)
    with pytest.raises(ConfigError, match="It was skipped: it judges a learning rate"):
        _ = found["step"]
