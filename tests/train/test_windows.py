"""Rows that are read from a disk train as if they were in memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import temperance as tp
from temperance.data.dataset import Dataset
from temperance.data.further import KEPT, Further
from temperance.train.windows import window

N, MORE, BATCH = 50, 170, 16  # neither a batch nor a window divides the others


def rows(n: int, first: int = 0) -> dict[str, Any]:
    """Rows that tell which they are: the first number is their own."""
    generator = torch.Generator().manual_seed(first)
    num = torch.cat([torch.arange(first, first + n).unsqueeze(1).float(), torch.randn(n, 3, generator=generator)], 1)
    cat = torch.randint(0, 4, (n, 2), generator=generator)
    y = torch.nn.functional.one_hot(torch.randint(0, 2, (n,), generator=generator), 2).float()
    return {"x": {"num": num, "cat": cat}, "y": y, "weight": torch.rand(n, generator=generator) + 0.5}


def held(weights: bool = True, further: Any = None) -> Dataset:
    own = rows(N)
    data = Dataset(own["x"], own["y"], "classification", own["weight"] if weights else None, None, (4, 4), ("no", "yes"))
    return replace(data, further=further)


def on_disk(folder: Path, *, pieces: int = 40, room: int = MORE) -> Further:
    more = rows(MORE, first=N)
    further = Further(more["x"], more["y"], rows=room, window=N, seed=3, folder=folder)
    for a in range(0, MORE, pieces):
        part = slice(a, a + pieces)
        further.add({name: leaf[part] for name, leaf in more["x"].items()}, more["y"][part], more["weight"][part])
    return further


class InMemory:
    """The rows of a disk, as tensors."""

    def __init__(self, further: Further) -> None:
        self.whole, self._n = further.read(0, len(further)), len(further)

    def __len__(self) -> int:
        return self._n

    def read(self, start: int, count: int) -> dict[str, Any]:
        def cut(tree: Any) -> Any:
            return {name: cut(leaf) for name, leaf in tree.items()} if isinstance(tree, dict) else tree[start : start + count]

        return cut(self.whole)

    def kept(self, key: Any, make: Any) -> Any:
        return make()


def names_of(x: Any) -> list[int]:
    return [int(value) for value in x["num"][:, 0]]


@pytest.mark.parametrize("room", [MORE, MORE + 45])
def test_every_row_is_dealt_once_and_read_as_it_was(tmp_path: Path, room: int):
    further = on_disk(tmp_path, room=room)
    found, more = further.read(0, MORE), rows(MORE, first=N)
    assert len(further) == MORE
    order = torch.tensor(names_of(found["x"])) - N
    assert sorted(order.tolist()) == list(range(MORE))
    for name, leaf in more["x"].items():
        assert torch.equal(found["x"][name], leaf[order])
    assert torch.equal(found["y"], more["y"][order]) and torch.equal(found["weight"], more["weight"][order])
    assert not list(tmp_path.iterdir())  # the file has no name


def test_a_window_is_like_the_table_in_whatever_order_its_rows_come(tmp_path: Path):
    n, size = 4000, 400
    x, y = {"num": torch.arange(float(n)).unsqueeze(1), "cat": torch.zeros(n, 0, dtype=torch.long)}, torch.ones(n, 1)
    further = Further(x, y, rows=n, window=size, seed=0, folder=tmp_path)
    for a in range(0, n, 500):
        further.add({"num": x["num"][a : a + 500], "cat": x["cat"][a : a + 500]}, y[a : a + 500])
    means = [float(further.read(a, size)["x"]["num"].mean()) for a in range(0, n, size)]
    error = n / 12**0.5 / size**0.5  # of the mean of so many rows drawn at random
    assert all(abs(mean - (n - 1) / 2) < 4.5 * error for mean in means)


def test_the_digest_knows_the_rows_and_not_how_they_were_cut(tmp_path: Path):
    assert on_disk(tmp_path, pieces=40).digest == on_disk(tmp_path, pieces=170).digest
    other = rows(MORE, first=N)
    other["y"][0] = 1 - other["y"][0]
    further = Further(other["x"], other["y"], rows=MORE, window=N, seed=3, folder=tmp_path)
    further.add(other["x"], other["y"], other["weight"])
    assert further.digest != on_disk(tmp_path).digest


def test_windows_go_round_all_rows_alike(tmp_path: Path):
    data = held(further=on_disk(tmp_path))
    turns = (N + MORE) // torch.gcd(torch.tensor(N), torch.tensor(N + MORE)).item()
    seen = [name for turn in range(int(turns)) for name in names_of(window(data, turn).x)]
    assert {seen.count(name) for name in range(N + MORE)} == {turns * N // (N + MORE)}
    assert window(data, 0) is data
    assert len(data.further._kept) == KEPT  # pyright: ignore[reportOptionalMemberAccess,reportPrivateUsage]


def trained(data: Dataset, members: int = 2, steps: int = 30, **settings: Any) -> list[dict[str, Tensor]]:
    people = [tp.Member(tp.Cocktail(tp.InputNoise(0.1), tp.Dropout(0.1 * (i + 1))), seed=i) for i in range(members)]
    network = tp.nets.TabularNet(4, (4, 4), 2, hidden=(8,))
    torch.manual_seed(1)
    for p in network.parameters():
        p.data.normal_(0, 0.3)
    population = tp.Population(network, people, data, batch_size=BATCH, total_steps=steps, early_stopping=None, **settings)
    return [outcome.final or {} for outcome in population.run()]


@pytest.mark.parametrize("weights", [False, True])
def test_rows_on_a_disk_and_in_memory_give_the_same_network(tmp_path: Path, weights: bool):
    further = on_disk(tmp_path)
    from_disk, from_memory = trained(held(weights, further)), trained(held(weights, InMemory(further)))
    for a, b in zip(from_disk, from_memory, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_member_sees_the_same_rows_alone(tmp_path: Path):
    data = held(further=on_disk(tmp_path))
    company, alone = trained(data, 3), trained(data, 1)
    assert all(torch.equal(company[0][name], alone[0][name]) for name in alone[0])


def test_the_first_window_trains_as_its_rows_would_alone(tmp_path: Path):
    whole = N // BATCH  # steps that lie within it
    data = held(further=on_disk(tmp_path))
    beside, alone = trained(data, steps=whole), trained(replace(data, further=None), steps=whole)
    assert all(torch.equal(beside[0][name], alone[0][name]) for name in alone[0])
    beside, alone = trained(data, steps=whole + 1), trained(replace(data, further=None), steps=whole + 1)
    assert not all(torch.equal(beside[0][name], alone[0][name]) for name in alone[0])


def test_a_teacher_answers_for_the_rows_that_are_read(tmp_path: Path):
    """A student that is its own teacher stays where it is, also on rows that were not in memory at first: only answers for other rows would move it."""
    network = tp.nets.TabularNet(4, (4, 4), 2, hidden=(8,))
    generator = torch.Generator().manual_seed(1)
    for p in network.parameters():
        p.data.normal_(0, 0.3, generator=generator)
    member = tp.Member(tp.Cocktail(tp.Distillation(1.0, 1.0, network)), tp.optim.SGD(1e-5), seed=0)
    population = tp.Population(network, [member], held(further=on_disk(tmp_path)), batch_size=BATCH, total_steps=12)
    (outcome,) = population.run()
    assert outcome.final is not None and outcome.steps * BATCH > 2 * N
    for name, start in network.named_parameters():
        torch.testing.assert_close(outcome.final[name], start.detach(), atol=1e-6, rtol=0)


def test_directions_of_rows_are_refused(tmp_path: Path):
    data = held(further=on_disk(tmp_path))
    data = replace(data, tangents={"num": torch.zeros(N, 1, 4)})
    with pytest.raises(tp.ConfigError, match=r"no `tangents` of a data set of which some rows are read from a disk.*Leave `tangents` out"):
        tp.Population(tp.nets.TabularNet(4, (4, 4), 2), [tp.Member()], data)


def test_members_with_rows_of_their_own_are_refused(tmp_path: Path):
    data = held(further=on_disk(tmp_path))
    with pytest.raises(tp.ConfigError, match=r"all rows where some are read from a disk.*Leave `rows`"):
        tp.Population(tp.nets.TabularNet(4, (4, 4), 2), [tp.Member(rows=[0, 1, 2])], data)


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path):
    own = rows(2)
    with pytest.raises(tp.ConfigError, match=r"Expected room for .* GB .*got .* GB free\. Make room there"):
        Further(own["x"], own["y"], rows=10**15, window=N, seed=0, folder=tmp_path)
