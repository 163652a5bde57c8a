"""A convolution is a dense layer whose weights are tied."""

import torch

from temperance.lab import WHITEHILL_14, Chart, Experiment, Line, every
from temperance.lab.linear import draws

SIZE, KERNEL = 12, 3


def dense(kernel: torch.Tensor) -> torch.Tensor:
    """The matrix of a convolution with one channel: the kernel in every row, one place further."""
    rows = SIZE - KERNEL + 1
    return torch.stack([torch.cat([torch.zeros(i), kernel.float(), torch.zeros(rows - 1 - i)]).double() for i in range(rows)])


class ConvolutionIsTied(Experiment):
    topic = "Structure and averaging"
    question = "What is a convolution, seen as a dense layer?"
    claim = "A dense layer with its weights tied: the same output, the gradients of all places summed up, and 3 parameters in the place of 120."
    source = f"{WHITEHILL_14}, weight sharing"
    expect = "A dense layer from 12 inputs to 10 outputs has 120 weights. How many are different if it is a convolution of width 3?"
    rules = (every("largest gap of the outputs", "<", 1e-5), every("largest gap of the gradients", "<", 1e-5))
    control = "The mean of the gradients in the place of their sum."
    next = "Shift the input by one: the outputs shift with it. No other tying gives that."
    limits = "At the borders the shift loses what leaves the image; padding and strides tie the weights in the same way."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        x, back = draws(seed, 8, SIZE), draws(seed + 1, 8, SIZE - KERNEL + 1)
        kernel = draws(seed + 2, KERNEL).float().double().requires_grad_()
        out = torch.nn.functional.conv1d(x[:, None], kernel[None, None])[:, 0]
        (shared,) = torch.autograd.grad((out * back).sum(), kernel)
        full = dense(kernel.detach()).requires_grad_()
        (each,) = torch.autograd.grad(((x @ full.T) * back).sum(), full)
        places = torch.stack([each[i, i : i + KERNEL] for i in range(SIZE - KERNEL + 1)])
        tied = places.mean(0) if control else places.sum(0)
        outputs = float((out.detach() - x @ full.detach().T).abs().max())
        return {"largest gap of the outputs": outputs, "largest gap of the gradients": float((shared - tied).abs().max())}

    def draw(self) -> Chart:
        matrix = dense(torch.tensor([1.0, -2.0, 0.5]))
        lines = [Line(f"output {i + 1}", range(SIZE), matrix[i], "bars") for i in (0, 4, 9)]
        names = [str(k + 1) for k in range(SIZE)]
        return Chart("input", "weight", lines, names=names, note="Three of the ten rows of the matrix: the same three numbers, at other places.")
