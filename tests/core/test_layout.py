"""Images lie channels last in memory where convolutions train one network after another, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import temperance as tp
from temperance.core.batch import full_batch
from temperance.core.cocktail import Cocktail
from temperance.core.criterion import SoftmaxCrossEntropy
from temperance.core.layout import channels_last, filters
from temperance.core.moment import Moment, step_key
from temperance.core.program import Program
from temperance.core.random import key_of
from temperance.nets import ResNet, build_seeded


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_numbers_stay(channels: int) -> None:
    images = torch.arange(24.0 * channels).reshape(2, channels, 4, 3)
    for given in (images, images.flip(3), images.transpose(2, 3)):
        out = channels_last(given)
        assert torch.equal(out, given) and out.stride(1) == 1


def test_a_training_pass_computes_the_same() -> None:
    """With and without it, to rounding: loss, statistics of BatchNorm and every gradient, in the order of the parameters' own dimensions."""
    net = build_seeded(lambda: ResNet((3, 8, 6), 4, channels=(4, 6)), 0).double()
    g = torch.Generator().manual_seed(0)
    batch = full_batch(torch.randn(5, 3, 8, 6, generator=g).double(), torch.eye(4).double()[torch.arange(5) % 4], torch.ones(5).double())
    moment = Moment(step_key(key_of(0), 0), torch.tensor(0), torch.zeros(()), torch.ones(()))
    found: list[list[Tensor]] = []
    for names in ((), filters(net)):
        program = Program(Cocktail(), net, SoftmaxCrossEntropy(), filters=names)
        params, buffers = dict(net.named_parameters()), dict(net.named_buffers())
        total, _, after, _ = program.loss(params, buffers, {}, {}, moment, batch)
        grads = torch.autograd.grad(total, list(params.values()))
        found.append([total, *after.values(), *(g.reshape(-1) for g in grads)])
    assert len(filters(net)) == 6
    for plain, laid in zip(*found, strict=True):
        torch.testing.assert_close(laid, plain)


class Watched(nn.Module):
    """Notes how the images of its second convolution lie."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3), nn.Linear(6, 2)
        self.strides: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        self.strides.append(h.stride(1))
        return self.last(self.second(h.relu()).mean((2, 3)))


def test_members_train_so() -> None:
    x, y = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2
    population = tp.Population(Watched(), [tp.Member(Cocktail(tp.L2(0.1)))], tp.data.as_dataset(x.numpy(), y.numpy()), batch_size=8, total_steps=2)
    group = population.chunks[0].group
    group.model.strides.clear()  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue] -- the network of this test
    group.train_step()
    assert group.model.strides == [1]
