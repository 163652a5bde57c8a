"""First weights by name: variances, orthogonality, sparsity, against closed forms and torch.nn.init."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.nets import MLP, build_seeded, initialize
from temperance.nets.mlp import Dense
from temperance.nets.schemes import INCOMING, SCHEMES


def drawn(scheme: str, rows: int = 300, columns: int = 200, seed: int = 0) -> Tensor:
    layer = nn.Linear(columns, rows)
    initialize(layer, seed, scheme)
    assert bool((layer.bias == 0).all())
    return layer.weight.detach()


@pytest.mark.parametrize(("scheme", "variance", "fourth"), [("uniform", 1 / 600, 1.8), ("xavier", 2 / 500, 1.8), ("he", 2 / 200, 3.0)])
def test_variances(scheme: str, variance: float, fourth: float) -> None:
    """1/(3 m), 2/(m + n), 2/m; the standard error of the variance of N draws is its (kurtosis - 1)^(1/2) / N^(1/2) fold."""
    w = drawn(scheme)
    error = ((fourth - 1) / w.numel()) ** 0.5
    assert float(w.square().mean()) == pytest.approx(variance, rel=5 * error)
    assert abs(float(w.mean())) < 5 * (variance / w.numel()) ** 0.5


def test_ranges_are_those_of_torch() -> None:
    for scheme, theirs in (("xavier", nn.init.xavier_uniform_), ("uniform", lambda w: nn.init.kaiming_uniform_(w, a=5**0.5))):
        for shape in ((40, 30), (20, 6, 3, 3)):
            layer: nn.Module = nn.Linear(30, 40) if len(shape) == 2 else nn.Conv2d(6, 20, 3)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                other = torch.stack([theirs(torch.empty(shape)) for _ in range(20)])
            ours: list[Tensor] = []
            for seed in range(20):
                initialize(layer, seed, scheme)
                assert isinstance(layer.weight, Tensor)
                ours.append(layer.weight.detach().clone())
            assert float(torch.stack(ours).abs().max()) == pytest.approx(float(other.abs().max()), rel=0.01)
            assert float(torch.stack(ours).std()) == pytest.approx(float(other.std()), rel=0.03)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    w = drawn("orthogonal", *shape).double()
    small = w.T @ w if shape[0] >= shape[1] else w @ w.T
    torch.testing.assert_close(small, torch.eye(min(shape), dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.svdvals(w), torch.ones(min(shape), dtype=torch.float64), rtol=0, atol=1e-5)
    conv = nn.Conv2d(2, 5, 3)
    initialize(conv, 0, "orthogonal")
    flat = conv.weight.detach().flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(5), rtol=0, atol=1e-5)


def test_orthogonal_matrices_have_no_preferred_sign() -> None:
    """Of a random rotation every entry is as often positive as negative; a bare QR decomposition fixes the signs of a diagonal."""
    corner = torch.stack([drawn("orthogonal", 3, 3, seed).diagonal() > 0 for seed in range(400)]).double().mean(0)
    assert float((corner - 0.5).abs().max()) < 5 * 0.5 / 20


def test_sparse() -> None:
    w = drawn("sparse")
    assert ((w != 0).sum(1) == INCOMING).all()
    kept = w[w != 0]
    assert float(kept.square().mean()) == pytest.approx(1.0, rel=5 * (2 / len(kept)) ** 0.5)
    assert len({tuple(row.nonzero().flatten().tolist()) for row in w}) == len(w)
    narrow = drawn("sparse", 4, 6)
    assert bool((narrow != 0).all())


def test_a_network_says_how() -> None:
    """MLP(init=...) draws so when it is made, and again by a seed; a scheme that is given comes first; layers around keep torch's."""
    net = build_seeded(lambda: MLP(20, 3, hidden=(30,), init="orthogonal"), 0)
    layer = net.hidden[0]
    assert isinstance(layer, Dense)
    first = layer.linear.weight.detach().clone()
    torch.testing.assert_close(first.T @ first, torch.eye(20), rtol=0, atol=1e-5)
    before = nn.Linear(20, 20)
    whole = nn.Sequential(before, net)
    initialize(whole, 5)
    again = layer.linear.weight.detach()
    torch.testing.assert_close(again.T @ again, torch.eye(20), rtol=0, atol=1e-5)
    assert not torch.equal(first, again) and bool((before.bias != 0).any())
    initialize(whole, 5, "sparse")
    assert bool(((layer.linear.weight != 0).sum(1) == INCOMING).all())
    plain, named = MLP(4, 2), MLP(4, 2)
    initialize(plain, 1)
    initialize(named, 1, "torch")
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), named.parameters(), strict=True))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_by_the_seed_alone(scheme: str) -> None:
    assert torch.equal(drawn(scheme, seed=4), drawn(scheme, seed=4))
    assert not torch.equal(drawn(scheme, seed=4), drawn(scheme, seed=5))
    net = nn.Linear(3, 3)
    state = torch.get_rng_state()
    initialize(net, 0, scheme)
    assert torch.equal(torch.get_rng_state(), state)
    half = nn.Linear(20, 20).to(torch.bfloat16)
    initialize(half, 0, scheme)
    assert half.weight.dtype == torch.bfloat16 and bool(torch.isfinite(half.weight).all())


def test_he_keeps_the_size_of_activations_in_deep_rectifier_networks() -> None:
    """Twenty layers of 200 units: the mean square stays within a factor of some; torch's own rule loses a sixth of it a layer."""
    x = torch.randn(50, 200, generator=torch.Generator().manual_seed(0))
    sizes: dict[str, float] = {}
    for scheme in ("he", "torch"):
        h = x
        for layer in range(20):
            linear = nn.Linear(200, 200)
            initialize(linear, layer, scheme)
            h = torch.relu(linear(h)).detach()
        sizes[scheme] = float(h.square().mean())
    assert 0.2 < sizes["he"] < 5.0 and sizes["torch"] < 0.01


@pytest.mark.parametrize(
    ("make", "message"), [(lambda: initialize(nn.Linear(2, 2), 0, "lecun"), "`scheme` of initialize"), (lambda: MLP(2, 2, init="LSUV"), "`init` of MLP")]
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(tp.ConfigError, match=f"Expected {message} to be one of 'torch', 'uniform', 'xavier', 'he', 'orthogonal', 'sparse'"):
        make()
