"""What all regularizers of images have in common."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.random import Rng, key_of
from temperance.core.registry import REGISTRY
from temperance.core.regularizer import Context, Regularizer
from temperance.data.dataset import Dataset
from temperance.regularizers import Affine, CutOut, Elastic

KINDS = [
    name for name, cls in sorted(REGISTRY.items()) if cls.acts_on == "image" and cls.batch is not Regularizer.batch and cls.__module__.startswith("temperance.")
]
every_kind = pytest.mark.parametrize("kind", [*KINDS, "CutOut"])


@pytest.fixture
def no_slow_loop() -> Iterator[None]:
    """Operators without a rule for vmap raise, where they would run row by row otherwise."""
    torch._C._functorch._set_vmap_fallback_enabled(False)
    yield
    torch._C._functorch._set_vmap_fallback_enabled(True)


def changed(kind: str, x: Any, key: torch.Tensor) -> Any:
    return REGISTRY[kind]().bind().batch(full_batch(x, torch.zeros(6, 1)), Context(rng=Rng(key, 3))).x


def test_there_are_some() -> None:
    assert set(KINDS) >= {"Affine", "Blur", "ColorJitter", "Elastic", "RandomCrop"}


@every_kind
@pytest.mark.usefixtures("no_slow_loop")
def test_a_population_is_one_call_and_its_members_bit_for_bit(kind: str) -> None:
    """Whether members see the same rows or their own."""
    keys = torch.stack([key_of(i) for i in range(3)])
    x = torch.randn(3, 6, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    own = torch.vmap(lambda key, rows: changed(kind, rows, key))(keys, x)
    shared = torch.vmap(lambda key: changed(kind, x[0], key))(keys)
    for i in range(3):
        assert torch.equal(own[i], changed(kind, x[i], keys[i]))
        assert torch.equal(shared[i], changed(kind, x[0], keys[i]))


@every_kind
def test_every_row_draws_its_own(kind: str) -> None:
    x = torch.randn(1, 2, 9, 12, generator=torch.Generator().manual_seed(0)).expand(6, 2, 9, 12)
    out = changed(kind, x, key_of(1))
    assert len({row.numpy().tobytes() for row in out}) > 3  # two may draw the same shift, or no blur to speak of


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_of_the_image_is_kept(kind: str, dtype: torch.dtype) -> None:
    """And half precision is as good as it can be: what single precision gives, rounded."""
    x = torch.randn(6, 2, 5, 8, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16).to(dtype)
    out = changed(kind, x, key_of(1))
    assert out.dtype == dtype and out.shape == x.shape
    if dtype != torch.float64:
        torch.testing.assert_close(out, changed(kind, x.float(), key_of(1)).to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_only_images_change(kind: str) -> None:
    x = {"image": torch.randn(6, 1, 5, 8), "num": torch.randn(6, 3), "cat": torch.randint(0, 4, (6, 2)), "pixels": torch.randint(0, 9, (6, 1, 5, 8))}
    given = {name: leaf.clone() for name, leaf in x.items()}
    out = changed(kind, x, key_of(1))
    assert all(out[name] is x[name] for name in ("num", "cat", "pixels"))
    assert not torch.equal(out["image"], x["image"]) and all(torch.equal(x[name], leaf) for name, leaf in given.items())


def data(x: Any) -> Dataset:
    return Dataset(x, torch.eye(2)[torch.arange(len(x)) % 2], "classification")


def test_tables_are_refused_where_the_data_are_known() -> None:
    flat = data(torch.randn(20, 35))
    net = nn.Linear(35, 2)
    with pytest.raises(tp.ConfigError, match=r"^Affine changes images, .* inputs of shape \(rows, 35\)\. Reshape them, leave it out with --without Affine "):
        tp.fit(net, tp.Cocktail(Affine()), flat, epochs=1)
    with pytest.raises(tp.ConfigError, match=r"^Elastic changes images"):
        tp.fit(net, tp.Cocktail(Elastic()).grid(elastic__alpha=[0.0, 5.0]), flat, epochs=1)
    off = tp.fit(net, tp.Cocktail(Affine(rotate=0.0), CutOut()), flat, epochs=1)
    assert off.outcomes[0].usable
    pictures = nn.Sequential(nn.Flatten(), nn.Linear(35, 2))
    assert tp.fit(pictures, tp.Cocktail(Affine()), data(torch.randn(20, 1, 5, 7)), epochs=1).outcomes[0].usable


def test_the_attached_form_refuses_tables_at_the_first_minibatch() -> None:
    """It knows no data before; what is off, and a pass in evaluation, go through."""
    net = nn.Linear(35, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, y = torch.randn(8, 35), torch.arange(8) % 2
    reg = tp.Cocktail(Affine()).attach(net, optimizer, nn.CrossEntropyLoss())
    for call in (reg.loss, reg.batch):
        with pytest.raises(tp.ConfigError, match=r"^Affine changes images, .* inputs of shape \(rows, 35\)\. Reshape them, "):
            call(x, y)
    net.eval()
    torch.testing.assert_close(reg.loss(x, y), nn.functional.cross_entropy(net(x), y))
    net.train()
    reg.detach()
    reg = tp.Cocktail(Affine()).off().attach(net, optimizer, nn.CrossEntropyLoss())
    torch.testing.assert_close(reg.loss(x, y), nn.functional.cross_entropy(net(x), y))
    reg.detach()
