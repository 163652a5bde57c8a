"""The loss that is given to attach, in steps whose regularizers change targets, weigh rows or run the network again."""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp

ROWS = 16
G = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 5, generator=G)
CLASSES = torch.randint(0, 3, (ROWS,), generator=G)
HOLES = torch.where(torch.arange(ROWS) % 3 == 1, -100, CLASSES)
MAP = torch.where(torch.arange(8).reshape(2, 4) == 5, 255, torch.randint(0, 3, (ROWS, 2, 4), generator=G))
LABELS = (torch.rand(ROWS, 3, generator=G) > 0.5).float()
VALUES = torch.randn(ROWS, 3, generator=G)
WEIGHT = torch.tensor([1.0, 2.0, 5.0])
V = torch.rand(ROWS, generator=G) + 0.1
CE = nn.CrossEntropyLoss
Out = namedtuple("Out", "logits hidden")


@dataclass
class Output:
    """As transformers return it."""

    logits: Tensor
    hidden: Tensor


class Returning(nn.Module):
    """A network whose output has another form than a tensor."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any], width: int = 3) -> None:
        super().__init__()
        self.body, self.head, self.form = nn.Sequential(nn.Linear(5, 8), nn.ReLU()), nn.Linear(8, width), form

    def forward(self, x: Tensor) -> Any:
        h = self.body(x)
        return self.form(self.head(h), h)


def plain(width: int = 3, *last: nn.Module) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, width), *last))


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build()


def constant(*shape: int) -> nn.Module:
    """A network whose scores are the same for every row, so that mixing rows changes nothing but targets."""
    scores = torch.arange(float(torch.Size(shape).numel())).sin()

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Parameter(scores.reshape(shape))

        def forward(self, x: Tensor) -> Tensor:
            return self.scores.expand(len(x), *shape)

    return Constant()


def attached(model: nn.Module, criterion: Any, *regularizers: Any, **settings: Any) -> Any:
    return tp.Cocktail(*regularizers).attach(model, torch.optim.SGD(model.parameters(), lr=0.1), criterion, **settings)


OPTIONS = {
    "plain": ({}, CLASSES),
    "holes": ({}, HOLES),
    "weights": ({"weight": WEIGHT}, CLASSES),
    "all": ({"weight": WEIGHT, "label_smoothing": 0.2}, HOLES),
    "class ignored": ({"weight": WEIGHT, "ignore_index": 1}, CLASSES),
    "class ignored, smoothed": ({"ignore_index": 1, "label_smoothing": 0.2}, CLASSES),
    "sum": ({"weight": WEIGHT, "reduction": "sum"}, HOLES),
    "sum, smoothed": ({"label_smoothing": 0.2, "reduction": "sum"}, HOLES),
    "map": ({"weight": WEIGHT, "ignore_index": 255, "label_smoothing": 0.1}, MAP),
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("regularizer", [tp.CutMix(1e-9), tp.LabelNoise(1e-9), tp.LabelSmoothing(1e-12)], ids=lambda r: type(r).__name__)
def test_soft_targets_that_are_not_mixed_give_what_integers_give(options: str, regularizer: Any) -> None:
    """In the limit of no change every option of the loss means the same, and so do its gradients."""
    settings, y = OPTIONS[options]
    model = plain() if y.dim() == 1 else plain(24, nn.Unflatten(1, (3, 2, 4)))
    reg, criterion = attached(model, CE(**settings), regularizer), CE(**settings)
    loss, expected = reg.loss(X, y), criterion(model(X), y)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one, list(model.parameters())) for one in (loss, expected)))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("strength", [0.2, 5.0])
def test_mixing_moves_target_mass_between_rows_and_makes_none(options: str, strength: float) -> None:
    """Where all rows have one prediction, mixed rows have the loss of unmixed ones: ignored rows bring no mass, and class weights follow it."""
    settings, y = OPTIONS[options]
    model = constant(3) if y.dim() == 1 else constant(3, 1, 1)
    if y.dim() > 1:
        model = nn.Sequential(model, nn.Upsample((2, 4)))
    reg, criterion = attached(model, CE(**settings), tp.MixUp(strength)), CE(**settings)
    mixed, expected = reg.loss(X, y), criterion(model(X), y)
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(*(torch.autograd.grad(one, list(model.parameters())) for one in (mixed, expected)))


@pytest.mark.parametrize("y", [HOLES, torch.where(CLASSES == 1, -100, CLASSES)])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_smoothing_leaves_ignored_rows_alone(y: Tensor, weight: Tensor | None) -> None:
    """It is torch's own label smoothing, where classes have no weights; with them the weight follows the smoothed mass."""
    model, epsilon = plain(), 0.3
    z, known = model(X), y >= 0
    soft = F.one_hot(y.clamp_min(0), 3) * (1 - epsilon) + epsilon / 3
    w = torch.ones(3) if weight is None else weight
    expected = -(soft * w * z.log_softmax(1)).sum(1)[known].sum() / (soft * w).sum(1)[known].sum()
    torch.testing.assert_close(attached(model, CE(weight=weight), tp.LabelSmoothing(epsilon)).loss(X, y), expected)
    if weight is None:
        torch.testing.assert_close(CE(label_smoothing=epsilon)(z, y), expected)


@pytest.mark.parametrize("order", [(tp.MixUp(1.0), tp.LabelSmoothing(0.2)), (tp.LabelSmoothing(0.2), tp.MixUp(1.0))])
def test_smoothing_and_mixing_in_either_order_leave_ignored_rows_without_mass(order: Any) -> None:
    model = constant(3)
    expected = attached(constant(3), CE(), tp.LabelSmoothing(0.2)).loss(X, HOLES)
    torch.testing.assert_close(attached(model, CE(), *order).loss(X, HOLES), expected)
    exclude = (attached(constant(3), CE(), tp.LabelSmoothing(0.2, exclude_true=True), *others).loss(X, HOLES) for others in ((), (tp.MixUp(1.0),)))
    torch.testing.assert_close(*exclude)


def test_where_every_row_is_ignored() -> None:
    """The criterion itself gives NaN, as torch does; soft targets without mass give no loss."""
    y = torch.full((ROWS,), -100)
    model = plain()
    reg = attached(model, CE(), tp.L2(0.0))
    assert reg.loss(X, y).isnan()
    reg.detach()
    loss = attached(model, CE(), tp.MixUp(0.5)).loss(X, y)
    loss.backward()
    assert loss.item() == 0.0 and all(p.grad is not None and not p.grad.any() for p in model.parameters())


LINEAR = {
    "MSE": (nn.MSELoss(), VALUES, ()),
    "BCEWithLogits": (nn.BCEWithLogitsLoss(weight=WEIGHT, pos_weight=WEIGHT), LABELS, ()),
    "BCE": (nn.BCELoss(), LABELS, (nn.Sigmoid(),)),
    "MultiLabelSoftMargin": (nn.MultiLabelSoftMarginLoss(), LABELS, ()),
    "KLDiv": (nn.KLDivLoss(reduction="batchmean"), torch.softmax(VALUES, 1), (nn.LogSoftmax(1),)),
    "Huber": (nn.HuberLoss(), VALUES, ()),
    "CrossEntropy of probabilities": (CE(weight=WEIGHT, label_smoothing=0.1), torch.softmax(VALUES, 1), ()),
}


@pytest.mark.parametrize("name", LINEAR)
def test_float_targets_are_mixed_and_the_loss_called_with_them(name: str) -> None:
    criterion, y, last = LINEAR[name]
    seen: list[tuple[Tensor, Tensor]] = []

    model = plain(3, *last)
    criterion.register_forward_pre_hook(lambda module, args: seen.append(args))
    loss = attached(model, criterion, tp.MixUp(0.5)).loss(X, y)
    (out, mixed), *others = seen
    assert not others and mixed.shape == y.shape and not torch.equal(mixed, y)
    torch.testing.assert_close(mixed.sum(0), y.sum(0))
    assert torch.equal(loss, type(criterion).forward(criterion, out, mixed))


HARD = {
    "MultiMarginLoss": (nn.MultiMarginLoss(), CLASSES),
    "MultiLabelMarginLoss": (nn.MultiLabelMarginLoss(), torch.stack([CLASSES, -torch.ones_like(CLASSES), CLASSES], 1)),
    "SoftMarginLoss": (nn.SoftMarginLoss(), 2 * LABELS - 1),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss(), 2 * LABELS - 1),
    "KLDivLoss": (nn.KLDivLoss(reduction="batchmean", log_target=True), VALUES.log_softmax(1)),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("cls", [tp.MixUp, tp.CutMix, tp.LabelSmoothing])
def test_a_loss_without_a_form_for_soft_targets_is_refused_by_name_unless_it_is_off(name: str, cls: Any) -> None:
    criterion, y = HARD[name]
    with pytest.raises(tp.ConfigError, match=rf"^{cls.__name__} changes targets, and {name} "):
        attached(plain(), criterion, cls())
    with pytest.raises(tp.ConfigError, match=cls.__name__):
        attached(plain(), criterion, cls(tp.schedules.WarmUp(0.1)), total_steps=9)
    model = plain()
    assert torch.equal(attached(model, criterion, tp.Cocktail(cls()).off()).loss(X, y), criterion(model(X), y))


def test_targets_turn_soft_in_the_step_in_which_a_schedule_leaves_off() -> None:
    seen: list[Tensor] = []

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        seen.append(y)
        return F.cross_entropy(out, y)

    model = plain()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.MixUp(tp.schedules.WarmUp(0.5, fraction=0.5))).attach(model, optimizer, criterion, total_steps=4)
    for _ in range(2):
        reg.loss(X, CLASSES).backward()
        optimizer.step()
    assert seen[0] is CLASSES and seen[1].shape == (ROWS, 3)
    model.eval()
    reg.loss(X, CLASSES)
    assert seen[2] is CLASSES


# Classes that are none


@pytest.mark.parametrize("regularizer", [tp.L2(0.1), tp.MixUp(0.5)])
@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_that_the_network_does_not_have_is_an_index_error_as_torchs_own(regularizer: Any, wrong: int) -> None:
    y = CLASSES.clone()
    y[4] = wrong
    for kind in (IndexError, tp.DataError):
        with pytest.raises(kind, match=rf"Target {wrong} is out of bounds"):
            attached(plain(), CE(), regularizer).loss(X, y)
    if isinstance(regularizer, tp.MixUp):
        with pytest.raises(tp.DataError, match=r"ignore_index"):
            attached(plain(), lambda out, y: F.cross_entropy(out, y), regularizer).loss(X, HOLES)


def test_rows_marked_without_a_target_may_hold_anything() -> None:
    y, labeled = torch.where(HOLES < 0, 99, HOLES), HOLES >= 0
    model = plain()
    expected = CE(weight=WEIGHT)(model(X), HOLES)
    for regularizer in (tp.L2(0.0), tp.CutMix(1e-9)):
        reg = attached(model, CE(weight=WEIGHT), regularizer)
        torch.testing.assert_close(reg.loss(X, y, labeled=labeled), expected)
        reg.detach()


# Outputs that are no tensors

FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Any], Callable[[Any], Tensor]]] = {
    "tuple": (lambda z, h: (z, h), lambda out: out[0]),
    "hidden first": (lambda z, h: [h.unsqueeze(1), z], lambda out: out[1]),
    "named": (Out, lambda out: out.logits),
    "dict": (lambda z, h: {"hidden": h, "logits": z}, lambda out: out["logits"]),
    "object": (Output, lambda out: out.logits),
    "nested": (lambda z, h: {"aux": [h], "out": (z,)}, lambda out: out["out"][0]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "regularizers",
    [(tp.L2(0.1), tp.Dropout(0.2)), (tp.MixUp(0.2),), (tp.LabelSmoothing(0.1),), (tp.SAM(0.05),), (tp.FGSM(0.1),), (tp.EMA(0.9),)],
    ids=lambda rs: type(rs[0]).__name__,
)
def test_any_form_of_output_gives_what_the_tensor_gives(form: str, regularizers: Any) -> None:
    make, pick = FORMS[form]
    losses = []
    for form_of, pick_of in ((make, pick), (lambda z, h: z, lambda out: out)):
        model = seeded(lambda form_of=form_of: Returning(form_of))
        settings = {"num_classes": 3} if form in ("hidden first", "nested") else {}
        reg = attached(model, lambda out, y, pick_of=pick_of: F.cross_entropy(pick_of(out), y), *regularizers, **settings)
        losses.append(reg.loss(X, CLASSES))
        losses[-1].backward()
    assert torch.equal(*losses)


def test_an_output_that_does_not_tell_its_classes_asks_for_their_number() -> None:
    class Lazy:
        __slots__ = ("_z",)

        def __init__(self, z: Tensor) -> None:
            self._z = z

        def scores(self) -> Tensor:
            return self._z

    def criterion(out: Any, y: Tensor) -> Tensor:
        return F.cross_entropy(out.scores(), y)

    model = seeded(lambda: Returning(lambda z, h: Lazy(z)))
    with pytest.raises(tp.ConfigError, match=r"Give it to attach as num_classes\.$"):
        attached(model, criterion, tp.MixUp(0.2)).loss(X, CLASSES)
    model = seeded(lambda: Returning(lambda z, h: Lazy(z)))
    assert torch.isfinite(attached(model, criterion, tp.MixUp(0.2), num_classes=3).loss(X, CLASSES))


@pytest.mark.parametrize(
    "regularizer", [tp.VAT(1.0), tp.MeanTeacher(1.0), tp.PiModel(1.0), tp.TangentProp(0.1), tp.ConfidencePenalty(0.1), tp.PseudoLabels(1.0)]
)
@pytest.mark.parametrize("form", FORMS)
def test_what_compares_outputs_refuses_a_loss_of_ones_own_in_words(regularizer: Any, form: str) -> None:
    make, pick = FORMS[form]
    reg = attached(seeded(lambda: Returning(make)), lambda out, y: F.cross_entropy(pick(out), y), regularizer)
    with pytest.raises(tp.ConfigError, match=r"nn\.CrossEntropyLoss\(\)"):
        reg.loss(X, CLASSES)


# Functions of one's own


def test_class_codes_in_dicts_and_sequences_are_made_soft_head_by_head() -> None:
    """Values beside classes are values: smoothing leaves them alone."""
    seen: list[Any] = []

    def criterion(out: Any, y: Any) -> Tensor:
        seen.append(y)
        return F.cross_entropy(out["kind"], y["kind"]) + F.mse_loss(out["size"], y["size"])

    model = seeded(lambda: Returning(lambda z, h: {"kind": z, "size": h[:, :3]}))
    attached(model, criterion, tp.LabelSmoothing(0.3)).loss(X, {"kind": CLASSES, "size": VALUES})
    torch.testing.assert_close(seen[0]["kind"], F.one_hot(CLASSES, 3) * 0.7 + 0.1)
    assert torch.equal(seen[0]["size"], VALUES)


def test_token_classes_are_laid_out_as_the_network_has_them() -> None:
    y = torch.randint(0, 3, (ROWS, 4), generator=torch.Generator().manual_seed(1))
    losses = []
    for model, criterion in (
        (plain(12, nn.Unflatten(1, (3, 4))), lambda out, y: F.cross_entropy(out, y)),
        (plain(12, nn.Unflatten(1, (3, 4)), Transposed()), lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten(0, 1))),
        (plain(12, nn.Unflatten(1, (3, 4))), CE()),
    ):
        losses.append(attached(model, criterion, tp.MixUp(0.5)).loss(X, y))
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def test_numbers_of_one_output_are_not_classes() -> None:
    """0 and 1 for one score, and counts for one value, are mixed as numbers; to smooth them would take more than a function says."""
    y = CLASSES.clamp_max(1)

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out.squeeze(1), y.float())

    losses = [attached(plain(1), criterion, tp.MixUp(0.5)).loss(X, target) for target in (y, y.float())]
    assert torch.equal(*losses)
    with pytest.raises(tp.ConfigError, match=r"^LabelSmoothing needs probabilities of classes.*nn\.BCEWithLogitsLoss\(\)"):
        attached(plain(1), criterion, tp.LabelSmoothing(0.1)).loss(X, y)
    smooth = attached(plain(1), nn.BCEWithLogitsLoss(), tp.LabelSmoothing(0.2)).loss(X, y[:, None].float())
    torch.testing.assert_close(smooth, nn.BCEWithLogitsLoss()(plain(1)(X), y[:, None] * 0.8 + 0.1))


def test_functions_that_cannot_be_used_say_why() -> None:
    def integers(out: Tensor, y: Tensor) -> Tensor:
        return F.multi_margin_loss(out, y)

    with pytest.raises(tp.ConfigError, match=r"^CutMix made probabilities of the classes, and the loss integers does not take them: .*leave CutMix out\.$"):
        attached(plain(), integers, tp.CutMix(0.5)).loss(X, CLASSES)
    for wrong, got in ((lambda out, y: (F.cross_entropy(out, y), 1), "tuple"), (lambda out, y: F.cross_entropy(out, y, reduction="none"), r"shape \(16,\)")):
        with pytest.raises(tp.ConfigError, match=rf"to give one number as a tensor, got .*{got}"):
            attached(plain(), wrong, tp.L2(0.1)).loss(X, CLASSES)
    with pytest.raises(tp.ConfigError, match=r"^Expected `reduction` of CrossEntropyLoss to be 'mean' or 'sum', got 'none'"):
        attached(plain(), CE(reduction="none"), tp.L2(0.1)).loss(X, CLASSES)
    with pytest.raises(tp.ConfigError, match=r"^MixUp changes targets, which have to be a tensor or a dict of tensors, got tuple"):
        attached(plain(), lambda out, y: F.cross_entropy(out, y[0]), tp.MixUp(0.5)).loss(X, (CLASSES, VALUES))
    with pytest.raises(tp.ConfigError, match=r"^TargetNoise serves regression, and integer targets"):
        attached(plain(), lambda out, y: F.cross_entropy(out, y), tp.TargetNoise(0.5)).loss(X, CLASSES)

    def broken(out: Tensor, y: Tensor) -> Tensor:
        raise RuntimeError("of the user's own")

    with pytest.raises(RuntimeError, match=r"^of the user's own$"):
        attached(plain(), broken, tp.L2(0.1)).loss(X, CLASSES)


# Weights of rows

WEIGHED = {
    "CrossEntropy": (CE(weight=WEIGHT), HOLES, ()),
    "CrossEntropy, smoothed": (CE(label_smoothing=0.2), CLASSES, ()),
    "CrossEntropy of probabilities": (CE(weight=WEIGHT), torch.softmax(VALUES, 1), ()),
    "cross_entropy itself": (F.cross_entropy, HOLES, ()),
    "partial": (functools.partial(F.cross_entropy, weight=WEIGHT), HOLES, ()),
    "map": (CE(weight=WEIGHT, ignore_index=255), MAP, (nn.Linear(3, 24), nn.Unflatten(1, (3, 2, 4)))),
    "NLL": (nn.NLLLoss(weight=WEIGHT), HOLES, (nn.LogSoftmax(1),)),
    "MSE": (nn.MSELoss(), VALUES, ()),
    "flat": (nn.L1Loss(), VALUES[:, 0], (nn.Linear(3, 1), nn.Flatten(0))),
    "BCEWithLogits": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), LABELS, ()),
    "KLDiv": (nn.KLDivLoss(reduction="batchmean"), torch.softmax(VALUES, 1), (nn.LogSoftmax(1),)),
    "MultiMargin": (nn.MultiMarginLoss(), CLASSES, ()),
}


@pytest.mark.parametrize("name", WEIGHED)
def test_weights_are_those_of_a_mean(name: str) -> None:
    """All alike they change nothing; whole numbers count rows as often; zero leaves rows out, with ``labeled`` or without it."""
    criterion, y, last = WEIGHED[name]
    model = plain(3, *last)
    reg = attached(model, criterion, tp.L2(0.0))
    expected = criterion(model(X), y)
    for weight in (torch.ones(ROWS), torch.full((ROWS,), 10.0)):
        torch.testing.assert_close(reg.loss(X, y, weight), expected)
    times = torch.arange(ROWS) % 3
    often = torch.arange(ROWS).repeat_interleave(times)
    torch.testing.assert_close(reg.loss(X, y, times.float() * 7.0), criterion(model(X[often]), y[often]))
    some = torch.arange(ROWS) % 4 != 1
    torch.testing.assert_close(reg.loss(X, y, labeled=some), criterion(model(X[some]), y[some]))
    model.eval()
    torch.testing.assert_close(reg.loss(X, y, times * 2.0, labeled=some), reg.loss(X, y, times * some))
    nothing = reg.loss(X, y, torch.zeros(ROWS))
    nothing.backward()
    assert nothing.item() == 0.0 and all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("criterion", [CE(weight=WEIGHT), tp.losses.SoftmaxCrossEntropy()])
@pytest.mark.parametrize("regularizers", [(tp.MixUp(0.5),), (tp.CutMix(0.9),), (tp.PseudoLabels(1.0, threshold=0.3),), (tp.PGD(0.2, restarts=2),)])
def test_the_unit_of_weights_does_not_matter(criterion: Any, regularizers: Any) -> None:
    """Neither for losses of temperance, nor where rows are mixed or the network runs again."""
    labeled = torch.arange(ROWS) % 4 != 1
    losses = [attached(plain(), criterion, *regularizers).loss(X, CLASSES, weight * V, labeled=labeled) for weight in (1.0, 1000.0)]
    torch.testing.assert_close(*losses)


def test_weights_are_those_of_a_mean_for_every_head() -> None:
    heads = tp.losses.Heads((("kind", tp.losses.SoftmaxCrossEntropy(), 1.0), ("size", tp.losses.SquaredError(), 0.5)))
    model = seeded(lambda: Returning(lambda z, h: {"kind": z, "size": h[:, :3]}))
    labeled = {"kind": torch.arange(ROWS) < 9, "size": torch.arange(ROWS) % 2 == 0}
    loss = attached(model, heads, tp.L2(0.0)).loss(X, {"kind": CLASSES, "size": VALUES}, 30 * V, labeled=labeled)
    out = model(X)
    rows = {"kind": F.cross_entropy(out["kind"], CLASSES, reduction="none"), "size": (out["size"] - VALUES).square().mean(1)}
    parts = {name: (V * row)[labeled[name]].sum() / V[labeled[name]].sum() for name, row in rows.items()}
    torch.testing.assert_close(loss, parts["kind"] + 0.5 * parts["size"])


@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT}, {"weight": WEIGHT, "label_smoothing": 0.2}, {"weight": WEIGHT, "reduction": "sum"}], ids=str)
def test_guessed_classes_count_as_given_ones(options: Any) -> None:
    """With the weights of their classes: the loss on guesses is that of a batch which has them for targets."""
    model, labeled = plain(), torch.arange(ROWS) % 4 == 0
    with torch.no_grad():
        model.get_parameter("2.weight").copy_(torch.randn(3, 8, generator=torch.Generator().manual_seed(9)))
    p = model(X).softmax(1)
    sure = (p.amax(1) >= 0.7) & ~labeled
    guesses = p.argmax(1)[sure]
    assert 0 < len(guesses) < (~labeled).sum() and len(guesses.unique()) > 1
    for weight in (None, V):
        reg = attached(model, CE(**options), tp.PseudoLabels(1.0, threshold=0.7))
        reg.loss(X, CLASSES, weight, labeled=labeled)
        guessed = reg.report["pseudo_labels"]
        reg.detach()
        plainly = attached(model, CE(**options), tp.L2(0.0))
        torch.testing.assert_close(guessed, plainly.loss(X[sure], guesses, None if weight is None else V[sure]).detach())
        plainly.detach()


def test_a_sum_stays_a_sum() -> None:
    model = plain()
    loss = attached(model, CE(reduction="sum"), tp.L2(0.0)).loss(X, CLASSES, V)
    torch.testing.assert_close(loss, (V * F.cross_entropy(model(X), CLASSES, reduction="none")).sum())


# The split form, and other passes of the network


@pytest.mark.parametrize("options", [name for name in OPTIONS if "smoothed" not in name and name not in ("all", "map", "class ignored")])
@pytest.mark.parametrize("regularizer", [tp.MixUp(0.5), tp.LabelSmoothing(0.2)], ids=["MixUp", "LabelSmoothing"])
def test_the_split_form_gives_the_loss_of_the_loss_form(options: str, regularizer: Any) -> None:
    settings, y = OPTIONS[options]
    criterion = CE(**settings)
    whole = attached(plain(), criterion, regularizer).loss(X, y)
    model = plain()
    reg = attached(model, criterion, regularizer)
    x, soft = reg.batch(X, y)
    torch.testing.assert_close(criterion(model(x), soft) + reg.penalty(), whole)


def test_the_split_form_gives_targets_as_they_are_where_nothing_changes_them() -> None:
    assert attached(plain(), CE(), tp.Dropout(0.2), tp.MixUp(0.0)).batch(X, HOLES)[1] is HOLES
    for criterion, y in (
        (CE(label_smoothing=0.1, weight=WEIGHT), CLASSES),
        (CE(label_smoothing=0.1), HOLES),
        (CE(ignore_index=1), CLASSES),
        (nn.NLLLoss(), CLASSES),
    ):
        with pytest.raises(tp.ConfigError, match=r"Use reg\.loss\(x, y\)"):
            attached(plain(), criterion, tp.MixUp(0.5)).batch(X, y)


@pytest.mark.parametrize("regularizer", [tp.VAT(1.0), tp.MeanTeacher(1.0), tp.PiModel(1.0), tp.ConfidencePenalty(0.1)], ids=lambda r: type(r).__name__)
def test_what_compares_outputs_adds_the_same_beside_every_option(regularizer: Any) -> None:
    """The prediction of a network does not depend on the options of its loss; maps are as many rows as they have places."""
    extra = []
    for options in ({}, {"weight": WEIGHT, "label_smoothing": 0.2}):
        reg = attached(plain(), CE(**options), regularizer)
        reg.loss(X, CLASSES)
        extra.append(reg.report[regularizer.label])
    torch.testing.assert_close(*extra)
    reg = attached(nn.Sequential(plain(), nn.Unflatten(1, (3, 1, 1)), nn.Upsample((2, 4))), CE(), regularizer)
    reg.loss(X, torch.zeros(ROWS, 2, 4, dtype=torch.long))
    torch.testing.assert_close(reg.report[regularizer.label], extra[0])
    reg = attached(plain(3, nn.LogSoftmax(1)), nn.NLLLoss(), regularizer)
    reg.loss(X, CLASSES)
    torch.testing.assert_close(reg.report[regularizer.label], extra[0], rtol=1e-3, atol=1e-6)


def test_several_networks_in_one_take_the_mean_of_their_losses() -> None:
    """With integer targets and any reduction."""

    class Several(nn.Module):
        each_member = True

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(5, 6)

        def forward(self, x: Tensor) -> Tensor:
            out = self.body(x).unflatten(1, (2, 3))
            return out if self.training else out.mean(1)

    for criterion in (CE(weight=WEIGHT), CE(reduction="sum"), lambda out, y: F.cross_entropy(out, y)):
        model = seeded(Several)
        reg = attached(model, criterion, tp.L2(0.0))
        a, b = model(X).unbind(1)
        torch.testing.assert_close(reg.loss(X, HOLES), (criterion(a, HOLES) + criterion(b, HOLES)) / 2)
        model.eval()
        torch.testing.assert_close(reg.loss(X, HOLES), criterion(model(X), HOLES))


def test_a_replaced_head_has_its_own_number_of_classes() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(5, 3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.MixUp(0.5)).attach(model, optimizer, CE())
    reg.loss(X, CLASSES)
    model[0] = nn.Linear(5, 7)
    optimizer.add_param_group({"params": model[0].parameters()})
    assert torch.isfinite(reg.loss(X, CLASSES + 4))
