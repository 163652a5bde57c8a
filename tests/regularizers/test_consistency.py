"""PiModel and MeanTeacher."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from tests.regularizers.helpers import Loop, bound, context, linear_net, linear_rows
from torch import nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import Heads, SoftmaxCrossEntropy, SquaredError
from temperance.core.errors import ConfigError
from temperance.regularizers import EMA, Dropout, MeanTeacher, PiModel

ROWS = 20_000
W = torch.tensor([[1.0, -2.0, 0.5]]).double()


def linear(*before: nn.Module) -> nn.Module:
    net = nn.Sequential(*before, nn.Linear(3, 1, bias=False)).double()
    with torch.no_grad():
        net[-1].weight.copy_(W)
    return net


def rows(x: torch.Tensor, labeled: torch.Tensor | None = None):
    return full_batch(x, torch.zeros(len(x), 1).double(), weight=torch.ones(len(x)).double(), labeled=labeled)


def test_noise_on_the_inputs_of_a_linear_net() -> None:
    """w·(s n₁ - s n₂) is Gaussian with variance v = 2 sigma² Σ (s w)², so its mean square is v within 5 v sqrt(2/n); labels play no part."""
    scale = torch.tensor([1.0, 2.0, 4.0]).double()
    loop = Loop(Cocktail(PiModel(3.0, sigma=0.2)), linear(), SquaredError(), {"input_scale": scale})
    x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)).double()
    _, report, grads, _ = loop.gradient(rows(x, torch.zeros(ROWS, dtype=torch.bool)))
    v = 2 * 0.2**2 * (scale * W).square().sum().item()
    assert report["pi_model"].item() == pytest.approx(3.0 * v, rel=5 * (2 / ROWS) ** 0.5)
    # both passes are differentiated: the gradient of v is 4 sigma² s² w; each entry of its estimate has a standard deviation below 2 |w| s_j s sqrt(4/n)
    slope = 3.0 * 4 * 0.2**2 * (scale**2 * W)
    torch.testing.assert_close(grads["0.weight"], slope, rtol=0, atol=5 * 3.0 * 4 * 0.2**2 * 32 * (2 / ROWS) ** 0.5)


def test_masks_of_a_linear_net() -> None:
    """Two independent dropout masks on the inputs: the mean square is 2 rate / (1 - rate) Σ_j w_j² mean x_j²."""
    x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)).double()
    cocktail = Cocktail(Dropout(0.25, where="0"), PiModel(1.0, sigma=0.0))
    _, report, _, _ = Loop(cocktail, linear(nn.Identity()), SquaredError()).gradient(rows(x))
    expected = 2 * 0.25 / 0.75 * (W.square() * x.square().mean(0)).sum().item()
    assert report["pi_model"].item() == pytest.approx(expected, rel=5 * (12 / ROWS) ** 0.5)  # kurtosis of x and of the mask together below 13


def test_nothing_differs_between_the_passes() -> None:
    net = nn.Linear(3, 2).double()
    x = torch.randn(8, 3).double()
    for regularizer in (PiModel(5.0, sigma=0.0), MeanTeacher(5.0, decay=0.0)):
        batch = full_batch(x, torch.eye(2).double().repeat(4, 1), weight=torch.ones(8).double())
        total, report, _, _ = Loop(Cocktail(regularizer), net, SoftmaxCrossEntropy()).gradient(batch)
        assert report[regularizer.label].item() == 0.0 and total.item() == report["data"].item()


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_mean_teacher_transcription(decay: float) -> None:
    """Descent for least squares in NumPy: the teacher averages the weights after every step, with bias correction, and is a constant in the gradient."""
    batch, lam, lr = linear_rows(), 0.7, 0.2
    batch = batch._replace(labeled=torch.arange(len(batch.x)) % 3 == 0)
    known, x, y = batch.labeled.numpy(), batch.x.numpy(), batch.y.numpy()[:, 0]
    w, a, mass = np.zeros(6), np.zeros(6), 0.0
    loop = Loop(Cocktail(MeanTeacher(lam, decay)), linear_net(), SquaredError())
    for _ in range(6):
        _, report, _, _ = loop.gradient(batch)
        assert report["mean_teacher"].item() == pytest.approx(lam * np.mean((x @ w - x @ a) ** 2), rel=1e-9, abs=1e-15)
        slope = 2 * x[known].T @ (x[known] @ w - y[known]) / known.sum() + 2 * lam * x.T @ (x @ w - x @ a) / len(x)
        w = w - lr * slope
        mass = decay * mass + 1 - decay
        a = a + (1 - decay) / mass * (w - a)
        loop.descend(batch, lr, 1)
        np.testing.assert_allclose(loop.params["weight"].numpy()[0], w, rtol=1e-9, atol=1e-12)
    averages = {name: t.numpy() for name, t in loop.state["mean_teacher"].items() if name != "mass"}
    np.testing.assert_allclose(averages["average:weight"][0], a, rtol=1e-9)


def test_probabilities_are_compared_and_heads_weighted() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kind, self.price = nn.Linear(3, 4), nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"kind": self.kind(x), "price": self.price(x)}

    net, x = Two().double(), torch.randn(10, 3).double()
    criterion = Heads((("kind", SoftmaxCrossEntropy(), 1.0), ("price", SquaredError(), 0.5)))
    y = {"kind": torch.eye(4).double()[torch.arange(10) % 4], "price": torch.zeros(10, 1).double()}
    batch = full_batch(x, y, weight=torch.ones(10).double())
    loop = Loop(Cocktail(MeanTeacher(2.0)), net, criterion)
    old = {name: t.clone() for name, t in loop.params.items()}
    loop.params = {name: t + 0.1 for name, t in loop.params.items()}
    loop.params["kind.weight"] = loop.params["kind.weight"] + torch.arange(12).reshape(4, 3) * 0.05
    _, report, _, _ = loop.gradient(batch)

    def out(params, head):
        return (x @ params[f"{head}.weight"].T + params[f"{head}.bias"]).numpy()

    kinds = np.mean((softmax(out(old, "kind"), 1) - softmax(out(loop.params, "kind"), 1)) ** 2)
    prices = np.mean((out(old, "price") - out(loop.params, "price")) ** 2)
    assert report["mean_teacher"].item() == pytest.approx(2.0 * (kinds + 0.5 * prices), rel=1e-12)


def test_the_teacher_ships_on_request() -> None:
    params = {"w": torch.ones(2).double()}
    student, teacher = MeanTeacher(1.0, 0.5), MeanTeacher(1.0, 0.5, ships="teacher")
    assert not student.wants("readout") and teacher.wants("readout")
    made = bound(teacher)
    state = made.init({"w": torch.zeros(2).double()})
    assert torch.equal(made.readout(state, params, {}, None)[0]["w"], params["w"])  # nothing averaged yet
    for value in (1.0, 4.0):
        state = made.track(state, {"w": torch.full((2,), value).double()}, context())
    assert torch.equal(made.readout(state, params, {}, None)[0]["w"], torch.full((2,), 3.0).double())
    off = teacher.replace(lam=0.0)
    assert off.is_off() and torch.equal(bound(off).readout(state, params, {}, None)[0]["w"], params["w"])
    data = tp.data.Dataset(torch.randn(8, 3), torch.zeros(8, 1), "regression")
    for mine, allowed in ((student, True), (teacher, False)):
        cocktail = Cocktail(EMA(), mine)
        if allowed:
            tp.Population(nn.Linear(3, 1), [tp.Member(cocktail)], data, total_steps=2).run()
        else:
            with pytest.raises(ConfigError, match="EMA and MeanTeacher both average the weights"):
                tp.Population(nn.Linear(3, 1), [tp.Member(cocktail)], data, total_steps=2)


@pytest.mark.parametrize("regularizer", [PiModel(), MeanTeacher(), tp.Cocktail])
def test_a_loss_of_ones_own_is_refused(regularizer) -> None:
    if regularizer is tp.Cocktail:
        regularizer = tp.regularizers.PseudoLabels()
    net = nn.Linear(3, 2)
    reg = Cocktail(regularizer).attach(net, torch.optim.SGD(net.parameters(), lr=0.1), lambda out, y: (out - y).abs().mean())
    with pytest.raises(ConfigError, match=f"{type(regularizer).__name__} needs a loss that temperance knows"):
        reg.loss(torch.randn(4, 3), torch.eye(2).repeat(2, 1))
    reg.detach()


def test_student_and_teacher_have_masks_of_their_own() -> None:
    """With decay 0 the teacher is the network itself: what is left is two independent masks, whose mean square is 2 rate / (1 - rate) Σ_j w_j² mean x_j²."""
    x = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0)).double()
    cocktail = Cocktail(Dropout(0.25, where="0"), MeanTeacher(1.0, decay=0.0))
    _, report, _, _ = Loop(cocktail, linear(nn.Identity()), SquaredError()).gradient(rows(x))
    expected = 2 * 0.25 / 0.75 * (W.square() * x.square().mean(0)).sum().item()
    assert report["mean_teacher"].item() == pytest.approx(expected, rel=5 * (12 / ROWS) ** 0.5)  # kurtosis as for PiModel


def test_the_student_of_the_teacher_is_the_network_of_the_data_loss() -> None:
    """Its mask is that of the data loss: where inputs are one, the output says which weights were kept, and both read the same."""
    net, seen = linear(nn.Identity()), list[torch.Tensor]()
    net[1].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    cocktail = Cocktail(Dropout(0.5, where="0"), MeanTeacher(1.0, decay=0.0))
    Loop(cocktail, net, SquaredError()).gradient(rows(torch.ones(64, 3).double()))
    data, *others = seen[-3:]
    assert sum(torch.equal(data, other) for other in others) == 1
