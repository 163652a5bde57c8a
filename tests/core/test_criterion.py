import pytest
import torch
from torch import nn
from torch.nn import functional as F

from temperance.core.batch import full_batch
from temperance.core.criterion import (
    EachMember,
    Heads,
    Opaque,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
    as_criterion,
    criterion_for,
    criterion_of,
)
from temperance.core.errors import ConfigError
from temperance.core.given_loss import given_criterion
from temperance.core.torch_losses import trainer_criterion

G = torch.Generator().manual_seed(0)
Z = torch.randn(6, 4, generator=G, dtype=torch.float64)
ONE_HOT = torch.eye(4, dtype=torch.float64)[torch.randint(0, 4, (6,), generator=G)]
MANY = torch.rand(6, 4, generator=G, dtype=torch.float64).round()


def loss(criterion, y, **marks):
    return criterion(Z, full_batch(torch.zeros(6, 1), y, **marks))


def test_against_torch() -> None:
    torch.testing.assert_close(loss(SoftmaxCrossEntropy(), ONE_HOT), F.cross_entropy(Z, ONE_HOT))
    torch.testing.assert_close(loss(SigmoidCrossEntropy(), MANY), F.binary_cross_entropy_with_logits(Z, MANY) * 4)
    torch.testing.assert_close(loss(SquaredError(), MANY), F.mse_loss(Z, MANY))
    torch.testing.assert_close(loss(SquaredError(half=True), MANY), 0.5 * F.mse_loss(Z, MANY, reduction="sum") / 6)


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 4), (6, 2, 5)])
def test_half_is_half_the_squared_distance(shape: tuple[int, ...]) -> None:
    """½‖y - a‖² a row, a sum over outputs, whose gradient is a - y; by default the mean over outputs."""
    out = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    rows = SquaredError(half=True).per_row(out, y)
    expected = torch.stack([0.5 * (y[i] - out[i]).norm() ** 2 for i in range(6)])
    torch.testing.assert_close(rows, expected)
    torch.testing.assert_close(torch.autograd.grad(rows.sum(), out)[0], (out - y).detach())
    torch.testing.assert_close(SquaredError().per_row(out, y), expected * 2 / y[0].numel())
    torch.testing.assert_close(SquaredError(half=True).divergence(y, out), expected.mean())


def test_extreme_logits_stay_finite() -> None:
    z = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    value = SigmoidCrossEntropy().per_row(z, torch.tensor([[0.0], [1.0]]))
    assert value.tolist() == [1e4, 1e4]
    value.sum().backward()
    assert z.grad.flatten().tolist() == [1.0, -1.0]


def test_weights_and_labels() -> None:
    weight, labeled = torch.tensor([2.0, 1, 1, 1, 0.5, 0.5]).double(), torch.arange(6) != 1
    rows = SoftmaxCrossEntropy().per_row(Z, ONE_HOT)
    torch.testing.assert_close(loss(SoftmaxCrossEntropy(), ONE_HOT, weight=weight, labeled=labeled), (weight * rows)[labeled].sum() / 5)
    none = loss(SoftmaxCrossEntropy(), ONE_HOT, labeled=torch.zeros(6, dtype=torch.bool))
    assert none.item() == 0.0


@pytest.mark.parametrize("criterion", [SoftmaxCrossEntropy(), SigmoidCrossEntropy(), SquaredError()])
def test_divergence_is_zero_at_itself_positive_elsewhere_and_smooth(criterion) -> None:
    other = Z + torch.randn(6, 4, generator=G, dtype=torch.float64)
    assert abs(criterion.divergence(Z, Z).item()) < 1e-12 and criterion.divergence(Z, other) > 0
    torch.autograd.gradcheck(lambda z: criterion.divergence(Z, z), (other.requires_grad_(),))


def test_divergences_are_those_of_the_distributions() -> None:
    """Kullback-Leibler between classes and between labels, summed over labels; the loss itself between values. Means over rows."""
    other = Z + torch.randn(6, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    kl, D = torch.distributions.kl_divergence, torch.distributions
    torch.testing.assert_close(SoftmaxCrossEntropy().divergence(Z, other), kl(D.Categorical(logits=Z), D.Categorical(logits=other)).mean())
    torch.testing.assert_close(SigmoidCrossEntropy().divergence(Z, other), kl(D.Bernoulli(logits=Z), D.Bernoulli(logits=other)).sum(1).mean())
    torch.testing.assert_close(SquaredError().divergence(Z, other), F.mse_loss(Z, other))
    heads = Heads((("a", SoftmaxCrossEntropy(), 1.0), ("b", SquaredError(), 0.5)))
    expected = SoftmaxCrossEntropy().divergence(Z, other) + 0.5 * F.mse_loss(Z, other)
    torch.testing.assert_close(heads.divergence({"a": Z, "b": Z}, {"a": other, "b": other}), expected)


@pytest.mark.parametrize("criterion", [SoftmaxCrossEntropy(), SigmoidCrossEntropy(), SquaredError()])
def test_rows_without_a_target_may_lose_without_bound(criterion) -> None:
    labeled = torch.arange(6) != 2
    y = torch.where(labeled[:, None], MANY, float("inf"))
    value = criterion(Z, full_batch(torch.zeros(6, 1), y, labeled=labeled))
    torch.testing.assert_close(value, criterion.per_row(Z[labeled], MANY[labeled]).mean())


SEVERAL = torch.randn(6, 3, 4, generator=G, dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 2.0, 5.0, 0.5]).double()
LABELED = torch.arange(6) % 3 != 1
INNER = {
    "of temperance": SoftmaxCrossEntropy(),
    "of torch": trainer_criterion(nn.CrossEntropyLoss(weight=WEIGHT)),
    "as given": given_criterion(nn.CrossEntropyLoss(weight=WEIGHT)),
    "a function": Opaque(lambda out, y: F.cross_entropy(out, y)),
    "a function as given": given_criterion(lambda out, y: F.cross_entropy(out, y)),
}


@pytest.mark.parametrize("name", INNER)
def test_several_networks_in_one_have_the_mean_of_their_losses(name: str) -> None:
    """Whatever the loss is, and that of the marked rows too; where there is one output, it is the plain loss."""
    inner = INNER[name]
    each = EachMember(inner)
    marks = {} if isinstance(inner, Opaque) else {"labeled": LABELED}
    batch = full_batch(torch.zeros(6, 1), ONE_HOT, **marks)
    torch.testing.assert_close(each(SEVERAL, batch), torch.stack([inner(SEVERAL[:, k], batch) for k in range(3)]).mean())
    assert torch.equal(each(Z, batch), inner(Z, batch))
    if not isinstance(inner, Opaque):
        torch.testing.assert_close(each.marked(SEVERAL, batch), torch.stack([inner.marked(SEVERAL[:, k], batch) for k in range(3)]).mean())
        assert torch.equal(each.marked(Z, batch), inner.marked(Z, batch))
        torch.testing.assert_close(
            each.divergence(SEVERAL, SEVERAL + 1.0 * torch.eye(4)[0]), inner.divergence(SEVERAL.flatten(0, 1), SEVERAL.flatten(0, 1) + torch.eye(4)[0])
        )


def test_several_networks_in_one_are_said_once() -> None:
    class Several(nn.Module):
        each_member = True

    one = criterion_of(Several(), SoftmaxCrossEntropy())
    assert one == EachMember(SoftmaxCrossEntropy()) and criterion_of(Several(), one) is one
    assert criterion_of(nn.Linear(1, 1), SoftmaxCrossEntropy()) == SoftmaxCrossEntropy()


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 2), (6, 4, 2, 3)])
def test_probabilities_of_scores_have_classes_last(shape: tuple[int, ...]) -> None:
    """The network has them at dimension 1, as torch's loss does."""
    out = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(given_criterion(nn.CrossEntropyLoss()).predict(out), out.softmax(1).movedim(1, -1))


OPTIONS = [{"weight": torch.ones(3)}, {"reduction": "sum"}, {"label_smoothing": 0.1}, {"ignore_index": 2}]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_a_loss_with_options_is_not_taken_for_the_plain_one(options) -> None:
    assert isinstance(as_criterion(nn.CrossEntropyLoss(**options)), Opaque)
    assert isinstance(as_criterion(nn.MSELoss(reduction="sum")), Opaque)

    class Own(nn.CrossEntropyLoss):
        pass

    assert isinstance(as_criterion(Own()), Opaque)


def test_heads_sum_and_skip_missing_targets() -> None:
    heads = Heads((("a", SoftmaxCrossEntropy(), 1.0), ("b", SquaredError(), 0.5)))
    labeled = {"a": torch.arange(6) < 3, "b": torch.arange(6) >= 3}
    batch = full_batch(torch.zeros(6, 1), {"a": ONE_HOT, "b": MANY}, labeled=labeled)
    expected = F.cross_entropy(Z[:3], ONE_HOT[:3]) + 0.5 * F.mse_loss(Z[3:], MANY[3:])
    torch.testing.assert_close(heads({"a": Z, "b": Z}, batch), expected)


def test_from_torch_losses_and_tasks() -> None:
    assert as_criterion(nn.CrossEntropyLoss()) == SoftmaxCrossEntropy() and as_criterion(nn.MSELoss()) == SquaredError()
    torch.testing.assert_close(as_criterion(F.mse_loss)(Z, full_batch(torch.zeros(6, 1), MANY)), F.mse_loss(Z, MANY))
    assert criterion_for({"a": "classification", "b": "regression"}).tasks == {"a": "classification", "b": "regression"}
    with pytest.raises(ConfigError, match="Expected `task` to be one of classification, multilabel, regression, got 'ranking'"):
        criterion_for("ranking")
    with pytest.raises(ConfigError, match="to be a loss"):
        as_criterion(3)
    with pytest.raises(ConfigError, match="cannot compare two outputs"):
        as_criterion(F.mse_loss).divergence(Z, Z)
