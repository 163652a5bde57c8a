"""The ladder network against a transcription in NumPy, and with a cocktail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.regularizers.helpers import Loop
from torch import Tensor

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.errors import ConfigError
from temperance.nets import LadderNet, build_seeded
from temperance.regularizers import Denoising, HiddenNoise

EPS = 1e-5
NOISE = {i: torch.randn(9, w, generator=torch.Generator().manual_seed(i)).double() for i, w in enumerate((4, 6, 3))}
X = torch.randn(9, 4, generator=torch.Generator().manual_seed(9)).double()


def net(**settings) -> LadderNet:
    """With every parameter away from its start."""
    made = build_seeded(lambda: LadderNet(4, 3, hidden=(6,), activation="tanh", **settings), 0).double()
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g).double())
    return made


def normal(z: np.ndarray) -> np.ndarray:
    return (z - z.mean(0)) / np.sqrt(z.var(0) + EPS)


def transcribed(made: LadderNet, x: np.ndarray, noise: dict[int, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Output of the corrupted pass and the squared errors by row, layer by layer, from the pseudo-code of the paper."""
    value = {name: p.detach().numpy() for name, p in made.named_parameters()}

    def up(i: int, z: np.ndarray) -> np.ndarray:
        h = value[f"scales.{i}"] * (z + value[f"shifts.{i}"])
        return np.tanh(h) if i == 0 else h

    clean, spread, h = [x], [(0.0, 1.0)], x
    for i in (0, 1):
        raw = h @ value[f"encoder.{i}.weight"].T
        spread.append((raw.mean(0), np.sqrt(raw.var(0) + EPS)))
        clean.append(normal(raw))
        h = up(i, clean[-1])
    corrupted = [x + noise[0]]
    h = corrupted[0]
    for i in (0, 1):
        corrupted.append(normal(h @ value[f"encoder.{i}.weight"].T) + noise[i + 1])
        h = up(i, corrupted[-1])
    costs, u = [], normal(h)
    for i in (2, 1, 0):
        a = value[f"combine.{i}.units"].reshape(10, -1)
        mu = a[0] / (1 + np.exp(-(a[1] * u + a[2]))) + a[3] * u + a[4]
        v = a[5] / (1 + np.exp(-(a[6] * u + a[7]))) + a[8] * u + a[9]
        rebuilt = (corrupted[i] - mu) * v + mu
        costs.insert(0, (((rebuilt - spread[i][0]) / spread[i][1] - clean[i]) ** 2).mean(1))
        if i:
            u = normal(rebuilt @ value[f"decoder.{i - 1}.weight"].T)
    return h, costs


@pytest.mark.parametrize("noisy", [False, True])
def test_against_numpy(noisy: bool) -> None:
    made = net(costs=(1.0, 0.5, 2.0))
    noise = {i: n if noisy else torch.zeros_like(n) for i, n in NOISE.items()}
    handles = [module.register_forward_hook(lambda _, args, out, i=i: out + noise[i]) for i, module in enumerate(made.corruptions)]
    costs: dict[int, Tensor] = {}
    handles += [module.register_forward_hook(lambda _, args, out, i=i: costs.__setitem__(i, out)) for i, module in enumerate(made.rebuilt)]
    out, errors = transcribed(made, X.numpy(), {i: n.numpy() for i, n in noise.items()})
    np.testing.assert_allclose(made.train()(X).detach().numpy(), out, rtol=1e-9, atol=1e-10)
    for i, weight in enumerate((1.0, 0.5, 2.0)):
        np.testing.assert_allclose(costs[i].detach().numpy(), weight * errors[i], rtol=1e-8, atol=1e-10)
    for handle in handles:
        handle.remove()


def test_evaluation_is_the_clean_path_at_its_running_statistics() -> None:
    made = net()
    for norm in made.norms:
        norm.momentum = 1.0
    made.train()(X)
    for norm in made.norms:  # torch keeps the unbiased variance; the clean pass normalizes by the biased one
        norm.running_var.mul_(8 / 9)
    calls: list[str] = []
    handles = [m.register_forward_hook(lambda *_: calls.append("corrupted")) for m in (*made.corruptions, *made.rebuilt)]
    out = made.eval()(X)
    still = {0: np.zeros((9, 4)), 1: np.zeros((9, 6)), 2: np.zeros((9, 3))}
    np.testing.assert_allclose(out.detach().numpy(), transcribed(made, X.numpy(), still)[0], rtol=1e-9, atol=1e-10)
    assert not calls
    for handle in handles:
        handle.remove()


def test_the_costs_enter_the_loss_for_rows_without_a_target_too() -> None:
    made = net(costs=(1.0, 0.5, 2.0))
    batch = full_batch(X, torch.eye(3).double().repeat(3, 1), weight=torch.ones(9).double(), labeled=torch.arange(9) == 0)
    total, report, grads, _ = Loop(tp.Cocktail(Denoising(0.7)), made, SoftmaxCrossEntropy()).gradient(batch)
    _, errors = transcribed(made, X.numpy(), {i: np.zeros(n.shape) for i, n in NOISE.items()})
    expected = 0.7 * sum(weight * e.mean() for weight, e in zip((1.0, 0.5, 2.0), errors, strict=True))
    assert report["denoising"].item() == pytest.approx(expected, rel=1e-9)
    assert total.item() == pytest.approx(expected + report["data"].item(), rel=1e-12)
    assert all(g.abs().sum() > 0 for g in grads.values())
    _, _, plain, _ = Loop(tp.Cocktail(Denoising(0.0)), made, SoftmaxCrossEntropy()).gradient(batch)
    assert all(plain[name].abs().sum() == 0 for name in plain if name.startswith(("decoder", "combine")))


def test_a_population_of_ladders_is_its_members_alone() -> None:
    """With keyed noise on the inputs of the corrupted pass; off is absent."""
    data = tp.data.Dataset(X.float().repeat(3, 1), torch.eye(3).repeat(9, 1), "classification", labeled=torch.arange(27) % 3 == 0)
    noise = HiddenNoise(0.3, where=tp.selectors.outputs_of("Corruption", except_output=False))
    members = [tp.Member(tp.Cocktail(noise, Denoising(lam)), tp.optim.SGD(0.05), seed) for seed, lam in enumerate((0.0, 0.1, 1.0))]
    model = build_seeded(lambda: LadderNet(4, 3, hidden=(6,)), 1)

    def run(chosen):
        made = tp.Population(model, chosen, data, batch_size=9, total_steps=6, compile=False)
        return [o.final for o in made.run()]

    together = run(members)
    for i, member in enumerate(members):
        assert all(torch.equal(t, together[i][name]) for name, t in run([member])[0].items())
    (absent,) = run([replace(members[0], cocktail=tp.Cocktail(noise))])
    assert all(torch.equal(t, together[0][name]) for name, t in absent.items())
    assert not torch.equal(together[1]["encoder.0.weight"], together[2]["encoder.0.weight"])


def test_numbers_of_costs() -> None:
    assert [r.weight for r in LadderNet(4, 3, hidden=(5,)).rebuilt] == [1.0, 0.1, 0.1]
    for bad in ((1.0, 1.0), (1.0, -1.0, 1.0)):
        with pytest.raises(ConfigError, match=r"^Expected `costs` of LadderNet to be 3 numbers in \[0, inf\), one per layer, got "):
            LadderNet(4, 3, hidden=(5,), costs=bad)
    with pytest.raises(ConfigError, match="matches nothing in MLP"):
        Loop(tp.Cocktail(Denoising()), tp.nets.MLP(4, 3, hidden=(5,)), SoftmaxCrossEntropy())
