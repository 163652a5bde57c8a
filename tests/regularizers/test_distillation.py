"""Distillation against its formula in NumPy, asked once and asked in every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from tests.regularizers.helpers import Loop
from torch import Tensor, nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Criterion, Heads, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.nets import Average, build_seeded
from temperance.regularizers import FGSM, Distillation, MixUp

ROWS, ALPHA, T = 12, 0.3, 2.5


def linear(outputs: int, seed: int) -> nn.Module:
    return build_seeded(lambda: nn.Linear(5, outputs), seed).double()


def rows(outputs: int):
    x = torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.eye(outputs).double()[torch.arange(ROWS) % outputs]
    return full_batch(x, y, torch.ones(ROWS).double(), torch.arange(ROWS) % 3 > 0)


def of_classes(z: np.ndarray, told: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    data = -(y * log_softmax(z, 1)).sum(1)[known].mean()
    apart = rel_entr(softmax(told / T, 1), softmax(z / T, 1)).sum(1).mean()
    return (1 - ALPHA) * data + ALPHA * T**2 * apart


def of_labels(z: np.ndarray, told: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    p, q, s = (1 / (1 + np.exp(-v)) for v in (told / T, z / T, z))
    data = -(y * np.log(s) + (1 - y) * np.log(1 - s)).sum(1)[known].mean()
    return (1 - ALPHA) * data + ALPHA * T**2 * (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).sum(1).mean()


def of_values(z: np.ndarray, told: np.ndarray, y: np.ndarray, known: np.ndarray) -> float:
    return (1 - ALPHA) * ((z - y) ** 2).mean(1)[known].mean() + ALPHA * ((z - told) ** 2).mean()


@pytest.mark.parametrize(
    ("criterion", "formula"),
    [(SoftmaxCrossEntropy(), of_classes), (SigmoidCrossEntropy(), of_labels), (SquaredError(), of_values)],
    ids=["classes", "labels", "values"],
)
def test_the_loss_is_the_formula(criterion: Criterion, formula) -> None:
    """Also the gradient, by differences of the formula; every row counts for the teacher, only rows with a target for the data loss."""
    net, teacher, batch = linear(3, 1), linear(3, 2), rows(3)
    total, report, grads, _ = Loop(Cocktail(Distillation(ALPHA, T, teacher)), net, criterion).gradient(batch)
    weight, bias = (p.detach().numpy().copy() for p in net.parameters())
    x, y, known = batch.x.numpy(), batch.y.numpy(), batch.labeled.numpy()
    told = teacher(batch.x).detach().numpy()

    def value(shift: float = 0.0) -> float:
        moved = weight.copy()
        moved[1, 2] += shift
        return float(formula(x @ moved.T + bias, told, y, known))

    assert total.item() == pytest.approx(value(), rel=1e-9)
    assert report["data"].item() + report["distillation"].item() == pytest.approx(total.item())
    assert grads["weight"][1, 2].item() == pytest.approx((value(1e-5) - value(-1e-5)) / 2e-5, rel=1e-6)


def test_at_alpha_one_labels_do_not_count_and_a_student_like_its_teacher_has_no_loss() -> None:
    net = linear(3, 1)
    total, _, grads, _ = Loop(Cocktail(Distillation(1.0, T, net)), net, SoftmaxCrossEntropy()).gradient(rows(3))
    assert total.item() == pytest.approx(0.0, abs=1e-12) and all(g.abs().max() < 1e-12 for g in grads.values())


def test_heads_are_weighted_as_in_the_loss() -> None:
    class Two(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.kind, self.price = linear(3, seed), linear(2, seed + 1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"kind": self.kind(x), "price": self.price(x)}

    one, batch = rows(3), rows(2)
    both = one._replace(y={"kind": one.y, "price": batch.y}, labeled={"kind": one.labeled, "price": one.labeled})
    heads = Heads((("kind", SoftmaxCrossEntropy(), 1.0), ("price", SquaredError(), 0.5)))
    net, teacher = Two(1), Two(5)
    total = Loop(Cocktail(Distillation(ALPHA, T, teacher)), net, heads).gradient(both)[0].item()
    z, told, known = net(one.x), teacher(one.x), one.labeled.numpy()
    parts = [of(z[k].detach().numpy(), told[k].detach().numpy(), both.y[k].numpy(), known) for k, of in (("kind", of_classes), ("price", of_values))]
    assert total == pytest.approx(parts[0] + 0.5 * parts[1], rel=1e-9)


class Counted(nn.Module):
    """A teacher that counts the rows it answers."""

    answered: int = 0

    def __init__(self) -> None:
        super().__init__()
        self.layer = build_seeded(lambda: nn.Linear(5, 3), 2)

    def forward(self, x: Tensor) -> Tensor:
        type(self).answered += len(x)
        return self.layer(x)


@pytest.mark.parametrize("mixed", [False, True])
def test_the_teacher_is_asked_once_where_nothing_changes_inputs(mixed: bool) -> None:
    """Its answers by row are those that it gives in every step, in folds of some rows too; beside MixUp, even one that is as good as off, it is asked anew."""
    x, y = rows(3).x.float().numpy(), (np.arange(ROWS) % 3)
    more = [MixUp(1e-6)] if mixed else []
    members = [tp.Member(Cocktail(Distillation(0.9, T, Counted()), *more), tp.optim.SGD(0.5), seed=s, rows=torch.arange(s, ROWS)) for s in (0, 3)]
    Counted.answered = 0
    population = tp.Population(build_seeded(lambda: nn.Linear(5, 3), 1), members, tp.data.as_dataset(x, y), batch_size=3, total_steps=4)
    once = Counted.answered
    population.run()
    assert (once, Counted.answered > once) == ((0, True) if mixed else (ROWS, False))
    for member, outcome in zip(members, population.outcomes, strict=True):
        (alone,) = tp.Population(build_seeded(lambda: nn.Linear(5, 3), 1), [member], tp.data.as_dataset(x, y), batch_size=3, total_steps=4).run()
        assert outcome.final is not None and alone.final is not None and torch.equal(outcome.final["weight"], alone.final["weight"])
        if not mixed:
            anew = tp.Member(Cocktail(Distillation(0.9, T, Counted()), MixUp(1e-6)), member.optimizer, seed=member.seed, rows=member.rows)
            (live,) = tp.Population(build_seeded(lambda: nn.Linear(5, 3), 1), [anew], tp.data.as_dataset(x, y), batch_size=3, total_steps=4).run()
            assert live.final is not None
            torch.testing.assert_close(live.final["weight"], alone.final["weight"], atol=1e-2, rtol=0)


def test_teachers_are_told_apart_and_left_alone() -> None:
    """Two members with teachers of one class train each with its own; the networks given keep their mode and their gradients."""
    x, y = rows(3).x.float().numpy(), (np.arange(ROWS) % 3)
    teachers = [build_seeded(lambda: nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5)), seed) for seed in (2, 3)]
    members = [tp.Member(Cocktail(Distillation(1.0, 1.0, teacher)), tp.optim.Adam(0.1), seed=0) for teacher in teachers]
    done = tp.Population(build_seeded(lambda: nn.Linear(5, 3), 1), members, tp.data.as_dataset(x, y), batch_size=ROWS, total_steps=400).run()
    for outcome, teacher in zip(done, teachers, strict=True):
        assert teacher.training and all(p.requires_grad for p in teacher.parameters()) and outcome.final is not None
        got = torch.from_numpy(x) @ outcome.final["weight"].T + outcome.final["bias"]
        torch.testing.assert_close(got.softmax(1), teacher.eval()(torch.from_numpy(x)).softmax(1), atol=0.02, rtol=0)


def test_what_teaches() -> None:
    average = Average([nn.Linear(5, 3), nn.Linear(5, 3)], "classification")

    class Loaded:
        model = average

    assert repr(Distillation(teacher=Loaded())) == repr(Distillation(teacher=average))
    written = Cocktail(Distillation(0.4, teacher=average))
    assert Cocktail.from_json(written.to_json()).to_dict() == written.to_dict()
    with pytest.raises(ConfigError, match=r"`teacher` of Distillation to be an nn.Module or a loaded model, got 'income'. Read the folder of a fit by tp.load"):
        Distillation(teacher="income")
    for lost in (Distillation(), Cocktail.from_json(written.to_json())["distillation"]):
        with pytest.raises(ConfigError, match="one that was read from a file has to be given again"):
            Loop(Cocktail(lost), linear(3, 1), SoftmaxCrossEntropy()).gradient(rows(3))
    with pytest.raises(ConfigError, match=r"`teacher` of Distillation with the outputs of the network, \(12, 3\), got \(12, 2\)"):
        Loop(Cocktail(Distillation(teacher=linear(2, 1))), linear(3, 1), SoftmaxCrossEntropy()).gradient(rows(3))


@pytest.mark.parametrize("places", [(0, 1), (1, 0)], ids=["attack first", "teacher first"])
def test_attacked_rows_learn_from_the_teacher_too(places: tuple[int, int]) -> None:
    """In either order the objective is (1 - share) · J(x) + share · J(x + eps · sign(∇ data loss)), with J the formula of the teacher."""
    net, teacher, batch, eps, share = linear(3, 1), linear(3, 2), rows(3), 0.2, 0.4
    both = FGSM(eps, share=share, bounds=(-10.0, 10.0)), Distillation(ALPHA, T, teacher)
    total = Loop(Cocktail(*(both[i] for i in places)), net, SoftmaxCrossEntropy()).gradient(batch)[0].item()
    x = batch.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(SoftmaxCrossEntropy()(net(x), batch), x)

    def value(x: Tensor) -> float:
        z, told = net(x).detach().numpy(), teacher(x).detach().numpy()
        return of_classes(z, told, batch.y.numpy(), batch.labeled.numpy())

    assert total == pytest.approx((1 - share) * value(batch.x) + share * value(batch.x + eps * slope.sign()), rel=1e-9)


def test_a_share_of_a_sum_is_refused() -> None:
    x, y = rows(3).x.float(), torch.arange(ROWS) % 3
    net = linear(3, 1).float()
    reg = Cocktail(Distillation(teacher=linear(3, 2))).attach(net, torch.optim.SGD(net.parameters(), 0.1), nn.CrossEntropyLoss(reduction="sum"), seed=0)
    with pytest.raises(ConfigError, match="`reduction` of CrossEntropyLoss to be 'mean' beside Distillation, got 'sum'"):
        reg.loss(x, y)


@pytest.mark.parametrize("teacher", [nn.Linear(4, 3), nn.Embedding(3, 3), nn.Bilinear(5, 5, 3)], ids=["narrow", "codes", "two inputs"])
def test_a_teacher_of_other_rows_is_refused(teacher: nn.Module) -> None:
    for more in ([], [MixUp(0.2)]):
        member = tp.Member(Cocktail(Distillation(teacher=teacher), *more))
        data = tp.data.as_dataset(rows(3).x.float().numpy(), np.arange(ROWS) % 3)
        with pytest.raises(ConfigError, match=r"`teacher` of Distillation that takes the rows, got \w+: .*Give one with the inputs of the network"):
            tp.Population(nn.Linear(5, 3), [member], data, total_steps=1).run()


def test_memory_that_cannot_be_had_is_no_fault_of_a_teacher() -> None:
    class Large(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Loop(Cocktail(Distillation(teacher=Large())), linear(3, 1), SoftmaxCrossEntropy()).gradient(rows(3))
