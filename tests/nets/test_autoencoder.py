"""The autoencoder, its Jacobian, and the tangents it finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.criterion import SquaredError
from temperance.core.errors import ConfigError
from temperance.nets import Autoencoder, build_seeded, manifold_tangents
from temperance.regularizers import Denoising

X = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).double()


def coder(*hidden: int, activation: str = "sigmoid", **settings) -> Autoencoder:
    return build_seeded(lambda: Autoencoder(5, hidden, activation, **settings), 0).double()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "silu"])
@pytest.mark.parametrize("hidden", [(4,), (6, 3)])
def test_jacobian_against_autograd(hidden: tuple[int, ...], activation: str) -> None:
    made = coder(*hidden, activation=activation)
    expected = torch.stack([torch.autograd.functional.jacobian(lambda row: made.encoder(row[None])[0], row) for row in X])
    torch.testing.assert_close(made.jacobian(X), expected, rtol=1e-10, atol=1e-12)


def test_one_sigmoid_layer_in_closed_form() -> None:
    """The cost of Rifai et al.: Σ_j (h_j (1 - h_j))² Σ_i W_ji², a mean over rows; its gradient by central differences."""
    made, lam = coder(4, contractive=True), 0.3
    cocktail = tp.Cocktail(Denoising(lam, where=tp.selectors.outputs_of("Contraction", except_output=False)))
    batch = full_batch(X, X, weight=torch.ones(7).double())
    loop = Loop(cocktail, made, SquaredError())
    _, report, grads, _ = loop.gradient(batch)
    layer = made.encoder.hidden[0].linear
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy()

    def cost(w: np.ndarray) -> float:
        h = 1 / (1 + np.exp(-(X.numpy() @ w.T + b)))
        return lam * (((h * (1 - h)) ** 2) @ (w**2).sum(1)).mean()

    assert report["denoising"].item() == pytest.approx(cost(w), rel=1e-12)
    _, _, plain, _ = Loop(tp.Cocktail(), made, SquaredError()).gradient(batch)
    slope = np.zeros_like(w)
    for place in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[place] = 1e-5
        slope[place] = (cost(w + step) - cost(w - step)) / 2e-5
    name = "encoder.hidden.0.linear.weight"
    np.testing.assert_allclose((grads[name] - plain[name]).numpy(), slope, rtol=1e-6, atol=1e-9)


def test_the_jacobian_costs_nothing_in_evaluation_and_no_hook_sees_its_passes() -> None:
    made = coder(4, contractive=True)
    calls: list[str] = []
    handles = [m.register_forward_hook(lambda *_, name=name: calls.append(name)) for name, m in made.named_modules() if name]
    made.eval()(X)
    assert "contraction" not in calls
    calls.clear()
    made.train()(X)
    assert calls.count("contraction") == 1 and calls.count("encoder.hidden.0.activation") == 1
    for handle in handles:
        handle.remove()


def test_tangents_of_a_linear_code_are_its_singular_vectors() -> None:
    made = coder(3, activation="identity")
    tangents = manifold_tangents(made, X, k=2, block=4)
    _, _, right = np.linalg.svd(made.encoder.hidden[0].linear.weight.detach().numpy())
    for row in tangents.numpy():
        np.testing.assert_allclose(np.abs(row @ right[:2].T), np.eye(2), atol=1e-10)


def test_a_contractive_code_finds_the_line_on_which_rows_lie() -> None:
    """Rows near a line in the plane: after training the leading tangent points along it (cosine above 0.99), before training it need not."""
    g = torch.Generator().manual_seed(0)
    along = torch.tensor([0.6, 0.8])
    x = torch.randn(300, 1, generator=g) * along + 0.03 * torch.randn(300, 2, generator=g)
    contract = tp.Cocktail(Denoising(0.01, where=tp.selectors.outputs_of("Contraction", except_output=False)))
    model = build_seeded(lambda: Autoencoder(2, (8,), "tanh", contractive=True), 0)
    trained = tp.fit(model, contract, tp.data.Dataset(x, x, "regression"), validation=None, optimizer=tp.optim.Adam(0.02), steps=300, batch_size=100).model
    assert isinstance(trained, Autoencoder)
    cosines = (manifold_tangents(trained, x, k=1)[:, 0] @ along).abs()
    assert cosines.min() > 0.99


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match=r"^Expected `norm` of Autoencoder to be None with contractive=True, got 'batch'"):
        Autoencoder(5, (4,), norm="batch", contractive=True)
    with pytest.raises(ConfigError, match="to have plain layers"):
        Autoencoder(5, (4,), norm="layer").jacobian(X.float())
    for bad in (0, 5, True, 1.5):
        with pytest.raises(ConfigError, match=r"^Expected `k` of manifold_tangents to be a whole number in \[1, 4\], got "):
            manifold_tangents(coder(4), X, k=bad)
