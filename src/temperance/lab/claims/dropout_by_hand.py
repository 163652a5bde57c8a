"""The lectures' worked example of dropout: [60, 132], and which gradients vanish."""

from typing import Any

import torch

import temperance as tp
from temperance.lab import WHITEHILL_14, WHITEHILL_22, Chart, Experiment, Line, every

W1 = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
W2 = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
X = torch.tensor([[0.0, 1.0, 2.0]])
KEPT = torch.tensor([1.0, 0.0, 1.0])


def network() -> Any:
    """Three inputs, three linear hidden units, two outputs."""
    net: Any = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Identity(), torch.nn.Linear(3, 2))
    with torch.no_grad():
        for layer, w in ((net[0], W1), (net[2], W2)):
            layer.weight.copy_(w)
            layer.bias.zero_()
    return net


def by_library() -> tuple[Any, torch.Tensor]:
    """The network and its output under the first seed with which Dropout(0.5) removes input 2 and hidden unit 2 alone."""
    dropout = tp.Dropout(0.5, input_rate=0.5, where="1")
    for seed in range(2000):
        net: Any = network()
        reg = tp.Cocktail(dropout).attach(net, torch.optim.SGD(net.parameters(), lr=0.0), torch.nn.MSELoss(), seed=seed)
        hidden: list[torch.Tensor] = []
        watch = net[2].register_forward_pre_hook(lambda module, args, seen=hidden: seen.append(args[0].detach()))
        x, _ = reg.batch(torch.ones(1, 3), torch.zeros(1, 2))
        net(x)
        watch.remove()
        if bool(((x[0] > 0) == (KEPT > 0)).all()) and bool(((hidden[0][0] > 0) == (KEPT > 0)).all()):
            reg.detach()
            fresh = tp.Cocktail(dropout).attach(net, torch.optim.SGD(net.parameters(), lr=0.0), torch.nn.MSELoss(), seed=seed)
            x, _y = fresh.batch(X, torch.zeros(1, 2))
            out = net(x)
            out.sum().backward()
            fresh.detach()
            return net, out.detach()[0]
        reg.detach()
    raise RuntimeError("No seed below 2000 draws these masks.")


class DropoutByHand(Experiment):
    topic = "Noise and dropout"
    question = "What does one step of dropout compute?"
    claim = "With input 2 and hidden unit 2 removed, x = [0, 1, 2] gives [60, 132], and no gradient reaches W1's row 2, W1's column 2 or W2's column 2."
    source = f"{WHITEHILL_22} and {WHITEHILL_14}, dropout: example"
    expect = "Multiply it out: W1 x with the second input gone, the second hidden unit gone, then W2. Which weights take part?"
    rules = (
        every("largest gap to [60, 132]", "<", 1e-4),
        every("largest gradient of what was removed", "<", 1e-12),
        every("smallest gradient of what was kept", ">", 1e-3),
    )
    control = "The same pass with nothing removed."
    seeds = 1
    next = "W1's column 1 has no gradient either. Why? (x₁ = 0.)"
    limits = "The library multiplies by 1/(1 − rate) while training: its output is 4 · [60, 132], once for each layer with a rate of ½."

    def once(self, seed: int, control: bool) -> dict[str, float]:
        if control:
            net: Any = network()
            out = net(X)
            out.sum().backward()
            found = out.detach()[0]
        else:
            net, found = by_library()
            found = found / 4
        first, second = net[0].weight.grad, net[2].weight.grad
        removed = torch.cat([first[1], first[:, 1], second[:, 1], net[0].bias.grad[1:2]])
        kept = torch.cat([first[0, 2:], first[2, 2:], second[:, 0], second[:, 2]])
        return {
            "largest gap to [60, 132]": float((found - torch.tensor([60.0, 132.0])).abs().max()),
            "largest gradient of what was removed": float(removed.abs().max()),
            "smallest gradient of what was kept": float(kept.abs().min()),
        }

    def draw(self) -> Chart:
        outs = {"all units": network()(X)[0].detach(), "input 2 and hidden 2 removed": by_library()[1] / 4}
        lines = [Line(name, range(2), out, "bars") for name, out in outs.items()]
        return Chart("output", "value", lines, names=["ŷ₁", "ŷ₂"], note="x = [0, 1, 2]. Without dropout 120 and 273; with it 60 and 132.")
