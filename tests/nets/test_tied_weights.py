"""A convolution is a dense layer with tied weights, and a recurrent network a deep one: same outputs, summed gradients, fewer numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from temperance.nets import RecurrentNet


def dense_of(kernel: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The matrix of a convolution without padding, and for each of its entries the entry of the kernel it is tied to (-1: none, it is zero)."""
    out, channels, kh, kw = kernel.shape
    rows, columns = height - kh + 1, width - kw + 1
    tied = torch.full((out, rows, columns, channels, height, width), -1)
    numbers = torch.arange(kernel.numel()).reshape(kernel.shape)
    for i in range(rows):
        for j in range(columns):
            tied[:, i, j, :, i : i + kh, j : j + kw] = numbers
    tied = tied.reshape(out * rows * columns, channels * height * width)
    return torch.where(tied >= 0, kernel.reshape(-1)[tied.clamp_min(0)], 0.0), tied


def test_a_convolution_is_a_dense_layer_with_tied_weights() -> None:
    g = torch.Generator().manual_seed(0)
    x, kernel = torch.randn(5, 2, 4, 6, generator=g).double(), torch.randn(3, 2, 2, 3, generator=g).double().requires_grad_()
    matrix, tied = dense_of(kernel.detach(), 4, 6)
    dense = matrix.clone().requires_grad_()
    convolved, product = F.conv2d(x, kernel), x.flatten(1) @ dense.T
    torch.testing.assert_close(convolved.flatten(1), product, rtol=1e-12, atol=1e-12)
    convolved.square().sum().backward()
    product.square().sum().backward()
    assert kernel.grad is not None and dense.grad is not None
    summed = torch.zeros(kernel.numel(), dtype=torch.float64).index_add_(0, tied[tied >= 0], dense.grad[tied >= 0])
    torch.testing.assert_close(kernel.grad.reshape(-1), summed, rtol=1e-10, atol=1e-10)
    assert kernel.numel() == 36 < dense.numel() == 36 * 48


def test_a_recurrent_network_is_a_deep_one_whose_layers_are_tied() -> None:
    """Every time step with weights of its own, all equal: the gradient of the shared ones is the sum of theirs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = RecurrentNet(3, 4, 2, cell="rnn").double()
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(1)).double()
    names = [name for name, p in net.named_parameters() if p.dim() == 2]
    uses: dict[str, list[Tensor]] = {name: [] for name in names}

    def untied(name: str, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        weight = module.weight.detach().clone().requires_grad_()
        uses[name].append(weight)
        return F.linear(args[0], weight, module.bias)

    net(x).square().sum().backward()
    linears = {f"{name}.weight": module for name, module in net.named_modules() if isinstance(module, nn.Linear)}
    handles = [m.register_forward_hook(lambda module, args, out, name=name: untied(name, module, args, out)) for name, m in linears.items() if name in uses]
    net(x).square().sum().backward()
    for handle in handles:
        handle.remove()
    assert max(len(found) for found in uses.values()) == 6, "once a time step"
    for name, found in uses.items():
        shared = net.get_parameter(name).grad
        assert shared is not None and found
        torch.testing.assert_close(shared, torch.stack([w.grad for w in found]).sum(0), rtol=1e-10, atol=1e-12)
