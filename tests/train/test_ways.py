"""The planner: batched or looped and why, chunks, memory, absorbed dropout, randomness that cannot be replayed."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.random import Rng, key_of, stream_of
from temperance.data.dataset import Dataset
from temperance.nets import RecurrentNet
from temperance.train.member import Member
from temperance.train.population import Population
from temperance.train.ways import bytes_a_member, chunk_size, parse_memory


class OwnLSTM(nn.Module):
    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(3, 4, num_layers=2, batch_first=True, dropout=dropout), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


def table(n: int = 12) -> Dataset:
    return Dataset(torch.randn(n, 3, generator=torch.Generator().manual_seed(0)), torch.eye(2)[torch.arange(n) % 2], "classification")


def images(n: int = 12) -> Dataset:
    return Dataset(torch.randn(n, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.eye(2)[torch.arange(n) % 2], "classification")


def series(n: int = 12) -> Dataset:
    return Dataset(torch.randn(n, 5, 3, generator=torch.Generator().manual_seed(0)), torch.eye(2)[torch.arange(n) % 2], "classification")


def population(net: nn.Module, data: Dataset, k: int = 3, cocktail: tp.Cocktail | None = None, **settings: Any) -> Population:
    given: dict[str, Any] = {"batch_size": 4, "total_steps": 3, **settings}
    return Population(net, [Member(cocktail or tp.Cocktail(), tp.optim.SGD(0.1), seed=i) for i in range(k)], data, **given)


CONV = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))
EXPECTED: dict[str, tuple[nn.Module, Dataset, bool, str]] = {
    "MLP": (tp.nets.MLP(3, 2, hidden=(8,), norm="batch"), table(), True, "3 x Cocktail(): vmap, 3 at a time: one batched program"),
    "convolution": (
        CONV,
        images(),
        False,
        "3 x Cocktail(): loop, one after another: Conv2d (0): a batch of convolutions is slower than one after another on a CPU",
    ),
    "RecurrentNet": (RecurrentNet(3, 4, 2), series(), True, "vmap, 3 at a time"),
    "LSTM": (OwnLSTM(), series(), False, "loop, one after another: LSTM (rnn) cannot run under vmap; RecurrentNet of temperance.nets can"),
    "parametrized": (nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), table(), False, "is parametrized, and its parameters cannot be stacked"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_way_taken(name: str) -> None:
    net, data, vmapped, text = EXPECTED[name]
    made = population(net, data)
    assert [p.vmapped for p in made.plans] == [vmapped]
    assert text in made.plan()
    assert made.plan().startswith("3 members in 1 group, memory 4G, batch size 4\n")
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for outcome in made.run():
        assert outcome.status == "finished" and outcome.final is not None
        still = [name for name, p in before.items() if torch.equal(outcome.final[name], p) and "bias" not in name]  # a bias before BatchNorm has none
        assert not still


def test_what_vmap_cannot_run_trains_in_a_loop_and_says_why() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(x) if x.sum() > 0 else -self.out(x)

    class Silent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            assert not torch._C._functorch.is_batchedtensor(x)  # pyright: ignore[reportAttributeAccessIssue] -- torch has no public test
            return self.out(x)

    for net, said in ((Branching(), "RuntimeError: vmap"), (Silent(), "AssertionError")):
        made = population(net, table())
        assert not made.plans[0].vmapped and f"vmap cannot run it ({said}" in made.plan()
        assert {o.status for o in made.run()} == {"finished"}


def test_the_planner_can_be_overruled() -> None:
    for way in ("vmap", "loop"):
        made = population(tp.nets.MLP(3, 2, hidden=(4,)), table(), way=way)
        assert made.plans[0].vmapped is (way == "vmap") and f"asked for with way='{way}'" in made.plan()
    with pytest.raises(tp.ConfigError, match=r"^Expected `way` of Population to be 'vmap', 'loop' or None, got 'magic'"):
        population(nn.Linear(3, 2), table(), way="magic")


def test_groups_by_static_plan() -> None:
    """Different options, optimizers or extra passes are different programs; strengths at off are the same one."""
    cocktails = [
        tp.Cocktail(tp.L2(0.0)),
        tp.Cocktail(tp.L2(0.1)),
        tp.Cocktail(tp.L2(0.1), tp.SAM(0.1)),
        tp.Cocktail(tp.L2(0.1), tp.SAM(0.0)),
        tp.Cocktail(tp.L2(0.1, where="0.*")),
    ]
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    made = Population(net, [*(Member(c) for c in cocktails), Member(cocktails[0], tp.optim.SGD(0.1))], table(), batch_size=4, total_steps=2)
    assert sorted(p.members for p in made.plans) == [1, 1, 1, 3]
    assert {o.status for o in made.run()} == {"finished"}


# Memory


@pytest.mark.parametrize(("text", "size"), [("4G", 4 << 30), ("500M", 500 << 20), ("1.5k", 1536), ("2 GiB", 2 << 30), (4096, 4096), ("1T", 1 << 40)])
def test_memory_words(text: Any, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("bad", ["lots", "-4G", "0", "4X", "", 0])
def test_bad_memory_words(bad: Any) -> None:
    with pytest.raises(tp.ConfigError, match=r"^Expected `memory` to be written like 4G or 500M"):
        parse_memory(bad)


@pytest.mark.parametrize("net", ["MLP", "convolution"])
def test_memory_too_small_for_one_member(net: str) -> None:
    """Whether it trains batched or in a loop."""
    model, data, *_ = EXPECTED[net]
    with pytest.raises(tp.ConfigError, match=r"^Expected `memory` to hold 1 member of .* and one at work of .*, together .*, got 1\.0 KB\. Raise"):
        population(model, data, k=1, memory="1K")


def test_chunks_follow_from_static_sizes() -> None:
    """As many as fit beside the resting members, at most 64, and the same at every call."""
    resting, working = bytes_a_member(nn.Linear(100, 100), torch.zeros(4, 100), 32, 2, 1)
    assert resting == 5 * 4 * 10_100 and working == 2 * 4 * 10_100 + 5 * 4 * 100 * 32
    assert chunk_size(resting, working, 1000, 4 << 30) == chunk_size(resting, working, 1000, 4 << 30) <= 64
    room = 10 * resting + 3 * working
    assert chunk_size(resting, working, 10, room) == 3
    assert chunk_size(resting, working, 10, 10 * resting + working) == 1
    with pytest.raises(tp.ConfigError, match=r"^Expected `memory` to hold 10 members"):
        chunk_size(resting, working, 10, 10 * resting + working - 1)


# Dropout of the network


def test_own_dropout_becomes_keyed() -> None:
    """nn.Dropout draws from the member's key: the same masks as temperance's Dropout at that place, untouched generators, and describe says so."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 2))
    made = population(own, table(), cocktail=tp.Cocktail(tp.L2(0.1)))
    assert made.plans[0].vmapped and "Dropout(name='absorbed_2', rate=0.4, input_rate=0.0, where=Named(pattern='2'))" in made.plan()
    assert "the trainer draws their masks from its keys" in tp.Cocktail().describe(own)
    bare = nn.Sequential(own[0], own[1], nn.Identity(), own[3])
    other = population(bare, table(), cocktail=tp.Cocktail(tp.L2(0.1), tp.Dropout(0.4, where="2", name="absorbed_2")))
    for a, b in zip(made.run(), other.run(), strict=True):
        assert a.final is not None and b.final is not None
        assert all(torch.equal(a.final[name], b.final[name]) for name in a.final)


@pytest.mark.parametrize(
    ("kind", "shape"), [(nn.Dropout, (4, 2, 3, 5)), (nn.Dropout1d, (4, 6, 5)), (nn.Dropout2d, (4, 6, 5, 5)), (nn.Dropout3d, (4, 6, 2, 2, 2))]
)
def test_channel_dropout_drops_channels(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    from temperance.train.ways import absorb

    _, found = absorb(nn.Sequential(kind(0.5)))
    (dropout,) = found
    h = dropout.bind().hidden(torch.ones(shape), tp.Context(Rng(key_of(1), stream_of("x"))))
    channels = h.flatten(2)
    whole = (channels == channels[..., :1]).all(-1)
    assert bool(whole.all()) is (kind is not nn.Dropout) and set(h.unique().tolist()) == {0.0, 2.0}


def test_one_dropout_module_in_two_places() -> None:
    """A module under two names is replaced under both, and each call has a mask of its own."""
    shared = nn.Dropout(0.5)
    net = nn.Sequential(nn.Linear(3, 8), shared, nn.Linear(8, 8), shared, nn.Linear(8, 2))
    made = population(net, table())
    assert made.plans[0].vmapped and made.plans[0].cocktail.count("absorbed") == 1
    before = torch.get_rng_state()
    made.run()
    assert torch.equal(before, torch.get_rng_state())


class Drawing(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.out = how, nn.Linear(3, 2)
        self.attention = nn.MultiheadAttention(3, 1, dropout=0.5 if how == "attention" else 0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.how == "F.dropout":
            x = F.dropout(x, 0.5)
        if self.training and self.how == "torch":
            x = x + torch.randn_like(x)
        if self.training and self.how == "python" and random.random() < 0.5:
            x = 2.0 * x
        if self.how == "attention":
            x = self.attention(x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1))[0].squeeze(1)
        return self.out(x)


@pytest.mark.parametrize("how", ["F.dropout", "torch", "python", "attention"])
@pytest.mark.usefixtures("generators_untouched")
def test_randomness_that_keys_cannot_replace_is_refused(how: str) -> None:
    with torch.random.fork_rng(devices=[]):
        net = Drawing(how)
    with pytest.raises(tp.ConfigError, match=r"^Drawing draws random numbers from a global generator in its forward pass .*Use nn\.Dropout modules"):
        population(net, table())


@pytest.mark.parametrize(
    ("net", "data", "name"), [(nn.AlphaDropout(), table(), "AlphaDropout"), (nn.RReLU(), table(), "RReLU"), (OwnLSTM(0.5), series(), "LSTM")]
)
def test_modules_with_own_randomness_are_named(net: nn.Module, data: Dataset, name: str) -> None:
    with pytest.raises(tp.ConfigError, match=rf"^{name} \(.*torch's generator"):
        population(nn.Sequential(net, nn.Linear(3, 2)) if name != "LSTM" else net, data)


def test_two_averages_in_any_member_are_refused() -> None:
    """EMA and SWA share a program; the member with both on is named, wherever it stands."""
    both = tp.Cocktail(tp.EMA(0.9), tp.SWA(0.5))
    one = both.with_strengths({"swa.start": 1.0})
    with pytest.raises(tp.ConfigError, match=r"^EMA and SWA both average the weights"):
        Population(nn.Linear(3, 2), [Member(one), Member(both)], table())
    made = Population(nn.Linear(3, 2), [Member(one), Member(both.with_strengths({"ema.decay": 0.0}))], table(), batch_size=4, total_steps=4)
    assert {o.status for o in made.run()} == {"finished"} and len(made.plans) == 1


@pytest.mark.parametrize("task", ["regression"])
def test_a_regularizer_for_another_task_is_refused(task: str) -> None:
    data = Dataset(torch.zeros(8, 3), torch.zeros(8, 2), task)
    with pytest.raises(tp.ConfigError, match=r"^LabelSmoothing serves classification, multilabel, and the task is regression"):
        population(nn.Linear(3, 2), data, cocktail=tp.Cocktail(tp.LabelSmoothing(0.1)))
