"""Which units are hidden, as a forward pass shows it: whatever was declared first, shared, or written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import temperance as tp
from temperance.core.program import Program, wiring_for
from temperance.core.selector import Hidden, modules_matching, outputs_of
from temperance.core.wiring import declared, observed

WIDTH = 6


class Net(nn.Module):
    """A network whose modules are declared in the order given, and whose forward pass is a function."""

    def __init__(self, run: Callable[[Any, Any], Any], **modules: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def layer() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


def free(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def recurrent(m: Any, x: Tensor) -> Tensor:
    h = torch.zeros(len(x), WIDTH)
    for _ in range(3):
        h = m.act(m.a(x) + m.b(h))
    return m.out(h)


def filled(m: Any, x: Tensor) -> Tensor:
    """The activation is written into a part of a tensor that was there before."""
    h = torch.zeros(len(x), 2 * WIDTH)
    h[:, :WIDTH] = m.act(m.a(x))
    return m.b(h[:, WIDTH // 2 : WIDTH // 2 + WIDTH])


def branching(m: Any, x: Tensor) -> Tensor:
    h = m.act(m.a(x))
    return m.out_act(m.b(h) if h.sum().item() > -1.0 else h)


# name: (network, calls of activations that are hidden)
NETS: dict[str, tuple[Callable[[], nn.Module], list[tuple[str, int]]]] = {
    "output activation declared first": (
        lambda: Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)))), out_act=nn.Sigmoid(), act=nn.ReLU(), a=layer(), b=layer()),
        [("act", 0)],
    ),
    "everything in reverse": (
        lambda: Net(
            lambda m, x: m.out_act(m.c(m.act2(m.b(m.act1(m.a(x)))))), out_act=nn.Tanh(), c=layer(), act2=nn.GELU(), b=layer(), act1=nn.ReLU(), a=layer()
        ),
        [("act1", 0), ("act2", 0)],
    ),
    "activations declared last": (
        lambda: Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)))), a=layer(), b=layer(), act=nn.ReLU(), out_act=nn.Sigmoid()),
        [("act", 0)],
    ),
    "one module between layers and at the output": (
        lambda: Net(lambda m, x: m.act(m.c(m.act(m.b(m.act(m.a(x)))))), act=nn.ReLU(), a=layer(), b=layer(), c=layer()),
        [("act", 0), ("act", 1)],
    ),
    "one per head, in a dict": (
        lambda: Net(
            lambda m, x: {"p": m.sig(m.b(h := m.act(m.a(x)))), "q": m.soft(m.c(h))},
            sig=nn.Sigmoid(),
            soft=nn.Softplus(),
            a=layer(),
            b=layer(),
            c=layer(),
            act=nn.ReLU(),
        ),
        [("act", 0)],
    ),
    "a head with a hidden layer of its own, in a tuple": (
        lambda: Net(
            lambda m, x: (m.out_act(m.b(h := m.act(m.a(x)))), m.c(m.mid(m.d(h)))),
            out_act=nn.Sigmoid(),
            a=layer(),
            b=layer(),
            c=layer(),
            d=layer(),
            act=nn.ReLU(),
            mid=nn.ReLU(),
        ),
        [("act", 0), ("mid", 0)],
    ),
    "activations kept in a container apart": (
        lambda: Net(
            lambda m, x: m.acts[2](m.layers[0](m.acts[0](m.layers[1](m.acts[1](m.layers[2](x)))))),
            acts=nn.ModuleList([nn.ReLU(), nn.Tanh(), nn.Sigmoid()]),
            layers=nn.ModuleList([layer(), layer(), layer()]),
        ),
        [("acts.1", 0), ("acts.0", 0)],
    ),
    "a residual branch to the output": (
        lambda: Net(lambda m, x: (h := m.act(m.a(x))) + m.out_act(m.b(h)), out_act=nn.ReLU(), act=nn.ReLU(), a=layer(), b=layer()),
        [("act", 0)],
    ),
    "scale, shift, norm and pooling after the output": (
        lambda: Net(
            lambda m, x: m.norm(m.act(m.a(x)).unflatten(1, (2, 3)) * m.scale + m.shift).mean(2) / m.heat,
            act=nn.ReLU(),
            a=layer(),
            norm=nn.BatchNorm1d(2),
            scale=free(1, 2, 1),
            shift=free(2, 3),
            heat=free(),
        ),
        [],
    ),
    "normalization of several axes after the output": (
        lambda: Net(lambda m, x: m.norm(m.act(m.a(x)).unflatten(1, (2, 3))), act=nn.ReLU(), a=layer(), norm=nn.LayerNorm([2, 3])),
        [],
    ),
    "a layer written by hand": (
        lambda: Net(lambda m, x: m.out_act(F.linear(m.act(m.a(x)), m.w.exp())), out_act=nn.Sigmoid(), w=free(2, WIDTH), act=nn.ReLU(), a=layer()),
        [("act", 0)],
    ),
    "a layer as a sum of products": (
        lambda: Net(lambda m, x: m.out_act((m.act(m.a(x)).unsqueeze(1) * m.w).sum(-1)), out_act=nn.Sigmoid(), w=free(2, WIDTH), act=nn.ReLU(), a=layer()),
        [("act", 0)],
    ),
    "a layer with one output and no matrix": (
        lambda: Net(lambda m, x: m.act(m.a(x)) @ m.w, w=free(WIDTH), act=nn.ReLU(), a=layer()),
        [("act", 0)],
    ),
    "a layer on a part": (
        lambda: Net(lambda m, x: torch.cat([(h := m.act(m.a(x)))[:, :3], m.b(h[:, 3:])], 1), act=nn.ReLU(), b=nn.Linear(3, 3), a=layer()),
        [("act", 0)],
    ),
    "parts written into another tensor": (lambda: Net(filled, act=nn.ReLU(), b=layer(), a=layer()), [("act", 0)]),
    "in place": (
        lambda: Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)))), out_act=nn.ReLU(inplace=True), act=nn.ReLU(inplace=True), b=layer(), a=layer()),
        [("act", 0)],
    ),
    "a recurrent cell": (lambda: Net(recurrent, out=layer(), act=nn.Tanh(), a=layer(), b=layer()), [("act", 0), ("act", 1), ("act", 2)]),
    "data decide the way": (lambda: Net(branching, out_act=nn.Sigmoid(), act=nn.ReLU(), a=layer(), b=layer()), [("act", 0)]),
    "frozen layers": (
        lambda: Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)))), out_act=nn.Sigmoid(), act=nn.ReLU(), a=layer(), b=layer()).requires_grad_(False),
        [("act", 0)],
    ),
    "without gradient": (
        lambda: Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)).detach())), out_act=nn.Sigmoid(), act=nn.ReLU(), a=layer(), b=layer()),
        [("act", 0)],
    ),
    "recomputed in the backward pass": (
        lambda: Net(
            lambda m, x: m.out_act(m.b(torch.utils.checkpoint.checkpoint(lambda x: m.act(m.a(x)), x, use_reentrant=False))),
            out_act=nn.Sigmoid(),
            act=nn.ReLU(),
            a=layer(),
            b=layer(),
        ),
        [("act", 0)],
    ),
    "weights that are derived": (
        lambda: Net(
            lambda m, x: m.out_act(m.b(m.act(m.a(x)))), out_act=nn.Sigmoid(), act=nn.ReLU(), a=layer(), b=nn.utils.parametrizations.weight_norm(layer())
        ),
        [("act", 0)],
    ),
    "attention and a recurrent layer": (
        lambda: Net(
            lambda m, x: m.out_act(m.lstm(m.block(m.act(m.a(x)).unsqueeze(1)))[0].flatten(1)),
            out_act=nn.Tanh(),
            lstm=nn.LSTM(WIDTH, 2, batch_first=True),
            block=nn.TransformerEncoderLayer(WIDTH, 2, 8, activation=nn.ReLU(), batch_first=True),
            act=nn.ReLU(),
            a=layer(),
        ),
        [("act", 0), ("block.activation", 0)],
    ),
    "a subclass of an activation": (
        lambda: Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)))), out_act=Own(), act=Own(), a=layer(), b=layer()),
        [("act", 0)],
    ),
    "one whose output nobody reads": (
        lambda: Net(lambda m, x: (m.idle(m.a(x)), m.b(m.act(m.a(x))))[1], idle=nn.ReLU(), act=nn.ReLU(), a=layer(), b=layer()),
        [("act", 0)],
    ),
}


class Own(nn.ReLU):
    """A name that no list holds."""


def rows() -> Tensor:
    return torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0))


def hidden_calls(net: nn.Module, x: Any) -> list[tuple[str, int]]:
    return [(call.name, call.index) for call in Hidden().calls(net, observed(net, x))]


@pytest.mark.parametrize("name", NETS)
def test_hidden_units_are_found_from_a_pass(name: str) -> None:
    build, hidden = NETS[name]
    assert hidden_calls(build(), rows()) == hidden


@pytest.mark.parametrize("name", [name for name, (_, hidden) in NETS.items() if hidden and "recomputed" not in name])
def test_dropout_in_ones_own_loop_drops_these_alone(name: str) -> None:
    """At a rate near one, whatever is acted on is seen as zeros by a hook that comes after."""
    build, hidden = NETS[name]
    net, seen = build(), dict[tuple[str, int], Tensor]()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    reg = tp.Cocktail(tp.Dropout(0.999)).attach(net, optimizer, lambda out, y: sum(t.square().mean() for t in tree(out)))
    reg.loss(rows(), torch.zeros(4))  # the first loss finds the units; the hooks below come after those that it set

    def note(module: nn.Module, args: Any, output: Tensor) -> None:
        name = next(n for n, m in net.named_modules() if m is module)
        seen[name, sum(other == name for other, _ in seen)] = output

    for module in net.modules():
        if isinstance(module, (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.Softplus)):
            module.register_forward_hook(note)
    reg.loss(rows(), torch.zeros(4))
    assert seen and {call for call, h in seen.items() if (h == 0).float().mean() > 0.9} == set(hidden)


def tree(out: Any) -> list[Tensor]:
    return list(out.values()) if isinstance(out, dict) else list(out) if isinstance(out, tuple) else [out]


class Auxiliary(nn.Module):
    """A head that takes part in training alone, where random numbers of every kind are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.out_act, self.aux, self.act, self.mid = nn.Sigmoid(), layer(), nn.ReLU(), nn.ReLU()
        self.a, self.norm, self.b, self.c, self.drop = layer(), nn.BatchNorm1d(WIDTH), layer(), layer(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Any:
        h = self.drop(self.act(self.norm(self.a(x.sub_(1.0)))))
        if not self.training:
            return self.out_act(self.b(h))
        noise = torch.rand(WIDTH) + torch.randn_like(h) + torch.randint(3, (WIDTH,)) + torch.randint(1, 3, (WIDTH,)) + torch.randperm(WIDTH)
        noise = (
            noise + torch.bernoulli(torch.full((WIDTH,), 0.5)) + torch.empty(WIDTH).uniform_() + torch.rand_like(h) + torch.multinomial(h.abs() + 1.0, WIDTH)
        )
        h = F.rrelu(F.alpha_dropout(F.dropout(h, 0.5), 0.5, True), training=True) + noise + torch.normal(torch.zeros(WIDTH), 1.0)
        return self.out_act(self.b(h)), self.out_act(self.aux(self.mid(self.c(h))))


def test_the_pass_leaves_no_trace() -> None:
    """Where a second pass is needed, to see a head that takes part in training alone, it draws from no global generator either."""
    net = Auxiliary()
    net.norm.eval()
    x, before, generator = rows(), {name: t.clone() for name, t in net.state_dict().items()}, torch.get_rng_state()
    hooks, flags = [len(m._forward_hooks) for m in net.modules()], [m.training for m in net.modules()]
    assert hidden_calls(net, x) == [("act", 0), ("mid", 0)]
    assert torch.equal(x, rows()) and torch.equal(torch.get_rng_state(), generator)
    assert [len(m._forward_hooks) for m in net.modules()] == hooks and [m.training for m in net.modules()] == flags
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def test_what_only_training_could_show_is_left_out_where_it_fails() -> None:
    class Greedy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b, self.unused = layer(), nn.ReLU(), layer(), nn.ReLU()

        def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
            if self.training and y is None:
                raise ValueError("targets, please")
            return self.b(self.act(self.a(x)))

    assert hidden_calls(Greedy(), rows()) == [("act", 0)]


def test_the_pass_does_not_fill_the_cache_of_autocast() -> None:
    """A copy of a weight that is cached without its history would leave the weight without a gradient: one that the network holds in a list, too."""
    loose = free(WIDTH, WIDTH).data.requires_grad_()
    net = Net(lambda m, x: m.b(F.linear(m.act(m.a(x)), loose)), a=layer(), act=nn.ReLU(), b=layer())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with torch.no_grad():
            wiring = observed(net, rows())
        net(rows()).sum().backward()
    assert [(call.name, call.feeds) for call in wiring.calls] == [("a", True), ("act", True), ("b", False)]
    assert all(p.grad is not None for p in (*net.parameters(), loose))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_pass_has_the_precision_of_the_loop(dtype: torch.dtype) -> None:
    """Autocast lets single-precision layers read rows in half precision; without it they would not."""
    net = NETS["output activation declared first"][0]()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    reg = tp.Cocktail(tp.Dropout(0.5)).attach(net, optimizer, nn.MSELoss())
    with torch.autocast("cpu", dtype=dtype):
        assert hidden_calls(net, rows().to(dtype)) == [("act", 0)]
        reg.loss(rows().to(dtype), torch.zeros(4, WIDTH)).backward()
    assert all(p.grad is not None for p in net.parameters())
    with pytest.raises(RuntimeError, match="dtype"):
        observed(net, rows().to(dtype))


@pytest.mark.parametrize("view", [nn.Identity(), nn.Flatten(), nn.Flatten(0, -1)], ids=str)
def test_what_reads_the_input_of_a_view_does_not_read_the_view(view: nn.Module) -> None:
    """Around a module that gives its input on, in the same memory, a layer reads the input itself."""
    net = Net(lambda m, x: m.view(h := m.act(m.a(x))).reshape(h.shape) + m.b(h), view=view, a=layer(), act=nn.ReLU(), b=layer())
    after = Net(lambda m, x: m.b(m.view(h := m.act(m.a(x))).reshape(h.shape)) + h, view=view, a=layer(), act=nn.ReLU(), b=layer())
    for one, feeds in ((net, False), (after, True)):
        assert {call.name: call.feeds for call in observed(one, rows()).calls} == {"a": True, "act": True, "view": feeds, "b": False}


def test_compiled_networks_are_seen_through() -> None:
    net = NETS["output activation declared first"][0]()
    wrapped = torch.compile(net, backend="eager")
    assert hidden_calls(wrapped, rows()) == [("_orig_mod.act", 0)]
    net.compile(backend="eager")
    call = net._compiled_call_impl
    assert hidden_calls(net, rows()) == [("act", 0)] and net._compiled_call_impl is call is not None


def test_output_layers_are_found_one_a_head() -> None:
    heads = Net(lambda m, x: {"p": m.p(h := m.act(m.a(x))), "q": m.q(h)}, p=layer(), q=layer(), act=nn.ReLU(), a=layer())
    reverse = Net(lambda m, x: m.out(m.act(m.a(x))), out=layer(), act=nn.ReLU(), a=layer())
    tail = Net(lambda m, x: m.out(m.lstm(x)[0]), out=layer(), lstm=nn.LSTM(WIDTH, WIDTH))
    for net, kind, found in ((heads, nn.Linear, ["a"]), (reverse, nn.Linear, ["a"]), (tail, nn.LSTM, ["lstm"])):
        assert list(modules_matching(outputs_of(kind), net, "Dropout", observed(net, rows())).layers) == found
    everything = modules_matching(outputs_of(nn.Linear, except_output=False), heads, "Dropout", observed(heads, rows()))
    assert sorted(everything.layers) == ["a", "p", "q"]


def test_no_hidden_unit_is_an_error_that_says_why() -> None:
    net = Net(lambda m, x: m.act(m.a(x)), act=nn.Sigmoid(), a=layer())
    reg = tp.Cocktail(tp.Dropout(0.5)).attach(net, torch.optim.SGD(net.parameters()), nn.BCELoss())
    with pytest.raises(tp.ConfigError, match=r"Dropout .*No layer reads what its activation modules give \(act\).*where='NAME'"):
        reg.loss(rows(), torch.zeros(4, WIDTH))
    reg.detach()
    named = Net(lambda m, x: m.act(m.a(x)), act=nn.Sigmoid(), a=layer())
    tp.Cocktail(tp.Dropout(0.5, where="act")).attach(named, torch.optim.SGD(named.parameters()), nn.MSELoss()).loss(rows(), torch.zeros(4, WIDTH))
    functional = Net(lambda m, x: m.b(F.relu(m.a(x))), a=layer(), b=layer())
    with pytest.raises(tp.ConfigError, match=r"F.relu has no module.*where=tp.selectors.outputs_of\(nn.Linear, except_output=True\)"):
        tp.Cocktail(tp.Dropout(0.5)).attach(functional, torch.optim.SGD(functional.parameters()), nn.MSELoss())


def test_declaration_stands_in_until_a_pass_is_seen() -> None:
    assert declared(nn.Sequential(layer(), nn.ReLU(), nn.Sequential(layer(), nn.Tanh()))).certain
    shared = nn.ReLU()
    net = nn.Sequential(layer(), shared, layer(), shared)
    assert [(c.name, c.index) for c in Hidden().calls(net, declared(net))] == hidden_calls(net, rows()) == [("1", 0)]
    own = NETS["output activation declared first"][0]()
    assert not declared(own).certain
    told = tp.Cocktail(tp.Dropout(0.5), tp.L2(0.1)).describe(own)
    assert "Hidden units (by the order of declaration; the first pass decides: describe(model, example=x) shows it)" in told
    told = tp.Cocktail(tp.Dropout(0.5)).describe(own, example=rows())
    assert "Hidden units\n  act  ReLU  dropout\n" in told and "out_act" not in told
    both = NETS["one module between layers and at the output"][0]()
    assert "  act  ReLU  dropout (call 1, 2)\n" in tp.Cocktail(tp.Dropout(0.5)).describe(both, example=rows())


def test_inputs_of_another_shape_are_looked_at_again() -> None:
    """Where one module is hidden in some calls and not in others, their numbers depend on how long the rows are."""

    def steps(m: Any, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), WIDTH)
        for t in range(x.shape[1]):
            h = m.act(m.a(x[:, t]) + m.b(h))
        return m.act(m.out(h))

    net = Net(steps, act=nn.Tanh(), a=layer(), b=layer(), out=layer())
    program = Program(tp.Cocktail(tp.Dropout(0.5)), net, tp.losses.SquaredError())
    for length in (3, 5, 2, 3):
        program.observe(torch.randn(4, length, WIDTH))
        assert program.units["dropout"].layers["act"].keys() == set(range(length))
    whole = Program(tp.Cocktail(tp.Dropout(0.5, where="act")), net, tp.losses.SquaredError())
    assert whole.units["dropout"].layer("act", 99) == 0


@pytest.mark.parametrize("way", ["vmap", "loop"])
def test_the_trainer_leaves_output_units_alone(way: str) -> None:
    net = NETS["output activation declared first"][0]()
    data = tp.data.as_dataset(rows().numpy(), rows().abs().numpy())
    population = tp.Population(net, [tp.Member(tp.Cocktail(tp.Dropout(0.5)))] * 2, data, batch_size=4, total_steps=2, way=way)
    assert [list(bucket.program.modules["dropout"]) for bucket in population._buckets] == [["act"]]
    population.run()
    assert wiring_for([tp.Cocktail(tp.L2(0.1), tp.Dropout(0.5, where="act"))], net, data.x) is None


def test_in_the_split_form_the_call_of_the_network_shows_it() -> None:
    """With as many arguments as it takes; the first call is acted on already, and no hook stays."""
    net = Net(lambda m, x: m.out_act(m.b(m.act(m.a(x)))), out_act=nn.ReLU(), a=layer(), b=layer(), act=nn.ReLU())

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor, mask: Tensor, *, scale: float) -> Tensor:
            return self.net(x * mask) * scale

    model = Masked()
    reg = tp.Cocktail(tp.Dropout(0.999)).attach(model, torch.optim.SGD(model.parameters()), nn.MSELoss())
    seen: dict[str, Tensor] = {}
    for step in range(2):
        x, _ = reg.batch(rows(), rows())
        for name in ("act", "out_act"):
            getattr(net, name).register_forward_hook(lambda m, i, o, name=name: seen.update({name: o}))
        with torch.no_grad():
            net.b.bias.fill_(1.0)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType] -- a layer
        model(x, torch.ones(WIDTH), scale=2.0)
        reg.penalty()
        assert (seen["act"] == 0).float().mean() > 0.9 and (seen["out_act"] > 0).all(), step
    reg.detach()
    assert not model._forward_pre_hooks and all(len(m._forward_hooks) == 2 * (m in (net.act, net.out_act)) for m in model.modules())
