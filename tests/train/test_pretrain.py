"""Pre-training by autoencoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.errors import ConfigError
from temperance.nets import MLP, TabularNet, build_seeded
from temperance.train.pretrain import pretrain

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.3, 0.2, 0.1]))
NOISE = tp.Cocktail(tp.InputNoise(0.1))


def net(*hidden: int, activation: str = "tanh") -> MLP:
    return build_seeded(lambda: MLP(6, 2, hidden, activation), 0)


@pytest.mark.parametrize("how", ["whole", "layerwise"])
def test_a_linear_code_spans_the_principal_components(how: str) -> None:
    """Baldi & Hornik (1989): the best linear autoencoder of width 2 projects on the two leading eigenvectors, with the error of the others."""
    done = pretrain(net(2, activation="identity"), tp.Cocktail(), X, how=how, epochs=400, batch_size=200, optimizer=tp.optim.Adam(0.02))
    layer = done.model.hidden[0].linear.weight.detach().numpy()
    centred = X.numpy() - X.numpy().mean(0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    basis = np.linalg.qr(layer.T)[0]
    np.testing.assert_allclose(np.linalg.svd(basis.T @ right[:2].T)[1], 1.0, atol=2e-3)  # cosines of the angles between the two planes
    rest = centred - centred @ right[:2].T @ right[:2]
    assert done.fits[0].outcomes[0].history[-1]["train_loss"] == pytest.approx((rest**2).mean(), rel=0.02)


@pytest.mark.parametrize("how", ["whole", "layerwise"])
def test_hidden_layers_change_and_the_rest_stays(how: str) -> None:
    first = net(8, 5, 4)
    before = {name: t.clone() for name, t in first.state_dict().items()}
    done = pretrain(first, NOISE, X, how=how, epochs=2, seed=3)
    assert all(torch.equal(t, before[name]) for name, t in first.state_dict().items())
    for name, t in done.state.items():
        assert torch.equal(t, before[name]) == name.startswith("output.")
    assert len(done.fits) == (1 if how == "whole" else 3)
    if how == "layerwise":
        second = done.fits[1].model
        assert second.encoder.hidden[0].linear.in_features == 8 and second.decoder.width == 8
        with torch.no_grad():
            h = done.model.hidden[0](X)
        assert torch.equal(done.fits[1].population.data.x, h)
    again = pretrain(first, NOISE, X.numpy(), how=how, epochs=2, seed=3)
    assert all(torch.equal(t, done.state[name]) for name, t in again.state.items())


def test_whole_autoencoders_mirror_the_stack() -> None:
    coder = pretrain(net(8, 5, 4), NOISE, X, how="whole", epochs=1).fits[0].model
    shapes = [tuple(m.weight.shape) for m in coder.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(8, 6), (5, 8), (4, 5), (5, 4), (8, 5), (6, 8)]
    assert sum(isinstance(m, nn.Tanh) for m in coder.modules()) == 5


def test_members_start_there_and_targets_are_not_read() -> None:
    data = tp.data.Dataset(X, torch.full((200, 2), torch.nan), "classification", labeled=torch.zeros(200, dtype=torch.bool))
    done = pretrain(net(8), NOISE, data, epochs=1)
    known = tp.data.Dataset(X, torch.eye(2)[(X[:, 0] > 0).long()], "classification")
    made = tp.Population(net(8), [tp.Member(tp.Cocktail(), tp.optim.SGD(1e-30), initial=done.state)], known, total_steps=1)
    made.run()
    assert all(torch.equal(t, done.state[name]) for name, t in made.outcomes[0].final.items())


def test_the_stack_of_a_table_and_contractive_coders() -> None:
    x = {"num": X[:, :4], "cat": torch.randint(0, 3, (200, 2), generator=torch.Generator().manual_seed(1))}
    data = tp.data.Dataset(x, torch.zeros(200, 1), "regression", cardinalities=(3, 3))
    table = build_seeded(lambda: TabularNet(4, (3, 3), 1, (7,)), 0)
    contract = tp.Cocktail(tp.regularizers.Denoising(0.1, where=tp.selectors.outputs_of("Contraction", except_output=False)))
    done = pretrain(table, contract, data, contractive=True, epochs=2)
    assert done.fits[0].model.encoder.hidden[0].linear.in_features == table.inputs.out_features
    assert any(row["penalty_denoising"] > 0 for row in done.fits[0].outcomes[0].history)
    assert not torch.equal(done.model.body.hidden[0].linear.weight, table.body.hidden[0].linear.weight)


def test_messages() -> None:
    with pytest.raises(ConfigError, match=r"^Expected `how` of pretrain to be 'layerwise' or 'whole', got 'both'"):
        pretrain(net(4), NOISE, X, how="both")
    with pytest.raises(ConfigError, match=r"^Expected `model` of pretrain to hold a tp.nets.MLP with a hidden layer, got 'Linear'\. Build it"):
        pretrain(nn.Linear(6, 2), NOISE, X)
    with pytest.raises(ConfigError, match=r"^Expected `data` of pretrain to be a Dataset, a tensor or an array of inputs, got 'list'"):
        pretrain(net(4), NOISE, [1, 2])
