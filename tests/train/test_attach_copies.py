"""A network with a cocktail attached stays its user's: it can be copied, saved, averaged and compiled, and nothing of ours is on it."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import temperance as tp
from temperance.core.attach import _ATTACHED

WHOLE = tp.Cocktail(tp.Dropout(0.5), tp.L2(0.1), tp.SAM(0.05), tp.EMA(0.9), tp.MaxNorm(2.0), tp.ActivationSparsity(0.1), tp.WeightDecay(0.1))
SPLIT = WHOLE.without("sam")


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def rows(seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=g), torch.randint(0, 3, (16,), generator=g)


def unpicklable(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y)


def attached(model: nn.Module, cocktail: tp.Cocktail = WHOLE, criterion: Any = None) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    return optimizer, cocktail.attach(model, optimizer, criterion or nn.CrossEntropyLoss(), seed=1)


def train(optimizer: torch.optim.Optimizer, reg: Any, steps: int = 2) -> None:
    for i in range(steps):
        optimizer.zero_grad()
        reg.loss(*rows(i)).backward()
        optimizer.step()


def flat(model: nn.Module) -> Tensor:
    return torch.cat([t.detach().flatten().double() for t in model.state_dict().values()])


def hooks(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")
    return sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)


def saved(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES: dict[str, Callable[[Any], Any]] = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model)), "torch.save": saved}


# Copies


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("when", ["at rest", "with a graph", "between batch and penalty", "averaged"])
def test_a_copy_is_the_network_and_nothing_else(how: str, when: str) -> None:
    """It predicts the same, trains on its own, takes a cocktail of its own, and keeps still while the first trains on."""
    model = network()
    optimizer, reg = attached(model, SPLIT, lambda out, y: unpicklable(out, y))
    train(optimizer, reg)
    loss: Any = None
    if when == "with a graph":
        loss = reg.loss(*rows())
    if when == "between batch and penalty":
        x, _ = reg.batch(*rows())
    if when == "averaged":
        with reg.averaged():
            made = COPIES[how](model)
            assert torch.equal(flat(made), flat(model))
        assert not torch.equal(flat(made), flat(model))
    else:
        made = COPIES[how](model)
        assert torch.equal(flat(made), flat(model))
    before = flat(made)
    del loss
    x, _ = rows(5)
    assert torch.equal(made(x), made(x))  # no masks, also in training mode
    made.load_state_dict(made.state_dict())
    second, other = attached(made)
    train(second, other)
    other.detach()
    changed = flat(made)
    model(x)
    reg.penalty()
    train(optimizer, reg)
    assert torch.equal(flat(made), changed) and not torch.equal(changed, before)
    assert hooks(model) == 0
    if when != "between batch and penalty":
        assert hooks(made) == 0


def test_a_file_of_the_whole_network_is_no_larger() -> None:
    sizes: list[int] = []
    for with_cocktail in (False, True):
        model = network()
        if with_cocktail:
            optimizer, reg = attached(model)
            train(optimizer, reg)
            optimizer.zero_grad()
        sizes.append(len(pickle.dumps(model)))
    assert sizes[0] == sizes[1]


def test_an_averaged_model_of_torch() -> None:
    model = network()
    optimizer, reg = attached(model)
    average = torch.optim.swa_utils.AveragedModel(model)
    for _ in range(2):
        train(optimizer, reg, 1)
        average.update_parameters(model)
    assert not torch.equal(flat(average.module), flat(model))
    average.eval()
    assert torch.isfinite(average(rows()[0])).all() and hooks(average) == 0


@pytest.mark.parametrize("how", COPIES)
def test_the_optimizer_can_be_copied_too(how: str) -> None:
    """A copy of both goes on without the cocktail; the first goes on with it."""
    model = network()
    optimizer, reg = attached(model)
    train(optimizer, reg)
    both = COPIES[how]((model, optimizer))
    other, steps = both[1], reg.steps
    other.zero_grad()
    unpicklable(both[0](rows()[0]), rows()[1]).backward()
    before = flat(model)
    other.step()
    assert reg.steps == steps and torch.equal(flat(model), before)
    optimizer.load_state_dict(other.state_dict())
    train(optimizer, reg, 1)
    assert reg.steps == steps + 1


@pytest.mark.parametrize("how", COPIES)
def test_all_three_together_go_on_as_the_first_does(how: str) -> None:
    """As one copies an object that holds network, optimizer and cocktail."""
    model = network()
    optimizer, reg = attached(model)
    train(optimizer, reg)
    twin, second, other = COPIES[how]((model, optimizer, reg))
    assert reg.report and not other.report  # no numbers of a minibatch that the copy has not seen
    assert other.model is twin and other.optimizer is second and other.model is not model
    for one, two in ((optimizer, reg), (second, other)):
        train(one, two, 3)
    assert torch.equal(flat(twin), flat(model)) and other.steps == reg.steps == 5
    assert all(torch.equal(t, other.state[label][key]) for label, own in reg.state.items() for key, t in own.items())
    other.detach()
    reg.detach()
    assert not second._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_cocktail_knows_which_tensors_were_replaced(how: str) -> None:
    """Before the copy was made and after it: what the first would say of its own network, the copy says of the copied one."""
    for late in (False, True):
        model = network()
        optimizer, reg = attached(model)
        train(optimizer, reg)
        if not late:
            model[3] = nn.Linear(8, 3)
        model, optimizer, reg = COPIES[how]((model, optimizer, reg))
        if late:
            model[3] = nn.Linear(8, 3)
        with pytest.raises(tp.ConfigError, match=r"^The optimizer holds tensors that the network has replaced \(3\.weight, 3\.bias\)"):
            reg.loss(*rows())
        optimizer.add_param_group({"params": model[3].parameters()})
        train(optimizer, reg)
        assert reg.steps == 4


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_cocktail_knows_what_is_left_to_others(how: str) -> None:
    """A layer that another optimizer trains may have a gradient in the copy too; one that is thawed later may not."""
    model = network()
    model[1].requires_grad_(False)
    optimizer = torch.optim.SGD(model[3].parameters(), lr=0.1)
    reg = SPLIT.attach(model, optimizer, nn.CrossEntropyLoss(), seed=1)
    train(optimizer, reg)
    twin, second, other = COPIES[how]((model, optimizer, reg))
    train(second, other)
    assert other.steps == 4 and "  0.weight  (8, 4)  " in other.describe() and "not in the optimizer" in other.describe()
    twin[1].requires_grad_(True)
    with pytest.raises(tp.ConfigError, match=r"^1\.weight, 1\.bias became trainable after attach"):
        train(second, other)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_cocktail_keeps_what_it_remembers_of_tensors_that_stay(how: str) -> None:
    """The anchor of a layer that stays is kept; of one that is replaced it begins anew."""
    model = network()
    optimizer, reg = attached(model, tp.Cocktail(tp.L2SP(0.5), tp.EMA(0.9)))
    anchor = reg.state["l2sp"]["0.weight"].clone()
    train(optimizer, reg)
    twin, second, other = COPIES[how]((model, optimizer, reg))
    twin[3] = nn.Linear(8, 3)
    second.add_param_group({"params": twin[3].parameters()})
    start = twin[3].weight.detach().clone()
    train(second, other, 1)
    assert torch.equal(other.state["l2sp"]["0.weight"], anchor) and torch.equal(other.state["l2sp"]["3.weight"], start)


def test_a_network_that_holds_its_own_cocktail_can_be_copied() -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.optimizer, self.reg = attached(self)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    one = Trainer()
    train(one.optimizer, one.reg)
    two = copy.deepcopy(one)
    assert two.reg.model is two
    for each in (one, two):
        train(each.optimizer, each.reg)
    assert torch.equal(flat(one), flat(two)) and one.reg.steps == two.reg.steps == 4


def test_a_detached_cocktail_is_copied_detached() -> None:
    optimizer, reg = attached(network())
    train(optimizer, reg)
    reg.detach()
    other = copy.deepcopy(reg)
    with pytest.raises(tp.ConfigError, match="was detached"):
        other.loss(*rows())


# Hooks


def test_hooks_are_there_during_a_pass_only() -> None:
    model = network()
    optimizer, reg = attached(model)
    seen: list[int] = []
    handle = model[0].register_forward_hook(lambda module, args, out: seen.append(hooks(model)))
    assert hooks(model) == 1
    loss = reg.loss(*rows())
    assert hooks(model) == 1 and seen[-1] == 2
    loss.backward()
    optimizer.step()
    handle.remove()
    assert hooks(model) == 0


OPEN = 2  # on the hidden layer, and on the network: its call shows which layers are hidden


@pytest.mark.parametrize("end", ["penalty", "step", "detach", "loss", "batch"])
def test_hooks_of_the_split_form_end(end: str) -> None:
    model = network()
    optimizer, reg = attached(model, SPLIT)
    x, y = reg.batch(*rows())
    assert hooks(model) == OPEN
    if end == "batch":
        reg.batch(*rows())
        assert hooks(model) == OPEN
        return
    if end == "loss":
        reg.loss(*rows())
        model(x)
        reg.penalty()
    elif end == "penalty":
        model(x)
        reg.penalty()
    elif end == "step":
        unpicklable(model(x), y).backward()
        optimizer.step()
    else:
        reg.detach()
    assert hooks(model) == 0


@pytest.mark.parametrize("when", ["before the call", "after the call"])
def test_a_loss_between_batch_and_penalty_is_a_pass_of_its_own(when: str) -> None:
    """Neither acts on the units of the other, and both are what they are alone."""
    cocktail = tp.Cocktail(tp.Dropout(0.5), tp.ActivationSparsity(0.1), tp.L2(0.1))

    def passes(order: str) -> dict[str, Tensor]:
        model = network()
        _, reg = attached(model, cocktail)
        found: dict[str, Tensor] = {}
        x, _ = reg.batch(*rows())
        for what in order:
            if what == "l":
                found["loss"] = reg.loss(*rows(1))
                found.update({f"{label} of the loss": value for label, value in reg.report.items()})
            elif what == "c":
                found["out"] = model(x)
            else:
                found["penalty"] = reg.penalty()
                found.update(reg.report)
                assert reg.report.keys() == {"activation_sparsity", "l2"}
        return found

    between, apart = passes("lcp" if when == "before the call" else "clp"), passes("cpl")
    assert between.keys() == apart.keys()
    for name, value in between.items():
        assert torch.equal(value, apart[name]), name


def test_an_error_inside_the_network_leaves_no_hooks() -> None:
    model = network()
    _, reg = attached(model)
    for wrong in (torch.zeros(3, 5), torch.zeros(3), None):
        with pytest.raises((RuntimeError, IndexError, TypeError, AttributeError, tp.TemperanceError)):
            reg.loss(wrong, torch.zeros(3, dtype=torch.long))
        assert hooks(model) == 0 and model.training


def test_hooks_of_the_network_see_what_the_next_layer_gets() -> None:
    model = network()
    seen: list[Tensor] = []
    model[2].register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    _, reg = attached(model, tp.Cocktail(tp.Dropout(0.9)))
    reg.loss(*rows())
    assert float((seen[-1] == 0).float().mean()) > 0.85


def test_the_split_form_says_when_the_network_was_not_called() -> None:
    _, reg = attached(network(), SPLIT)
    reg.batch(*rows())
    with pytest.raises(tp.ConfigError, match=r"^No hidden unit was reached between batch\(\) and penalty\(\)\. Call the network in between"):
        reg.penalty()


# Ends


def test_detach_leaves_nothing() -> None:
    """The same hooks and attributes as before, also when it is called twice."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = {name: sorted(vars(m)) for name, m in model.named_modules()}
    reg = WHOLE.attach(model, optimizer, nn.CrossEntropyLoss())
    train(optimizer, reg)
    reg.detach()
    reg.detach()
    assert {name: sorted(vars(m)) for name, m in model.named_modules()} == before and hooks(model) == 0
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    assert model not in _ATTACHED
    unpicklable(model(rows()[0]), rows()[1]).backward()
    optimizer.step()
    assert reg.steps == 2


def test_nothing_is_kept_alive() -> None:
    model = network()
    optimizer, reg = attached(model)
    train(optimizer, reg)
    gone = [weakref.ref(thing) for thing in (model, optimizer, reg, model[0].weight)]
    del model, optimizer, reg
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4


def test_a_cocktail_that_nobody_holds_any_more_is_no_obstacle() -> None:
    """A function that trains and returns leaves its network free for the next one."""
    model = network()

    def fit() -> None:
        optimizer, reg = attached(model)
        train(optimizer, reg)

    fit()
    fit()


# Compiled networks


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("how", ["attach to the wrapper", "compile after", "in place", "a layer"])
def test_compiled_networks_train_as_they_are_written(how: str) -> None:
    """Every mask and every gradient is that of the network without a compiler, and it stays compiled."""
    plain = network()
    optimizer, reg = attached(plain)
    train(optimizer, reg)
    model: Any = network()
    fast = model
    if how == "attach to the wrapper":
        fast = compiled(model)
        fast(rows()[0])
        model.load_state_dict(network().state_dict())
        second, other = attached(fast)
    elif how == "in place":
        model.compile(backend="eager")
        second, other = attached(model)
    elif how == "a layer":
        model[0] = compiled(model[0])
        second, other = attached(model)
    else:
        second, other = attached(model)
        fast = compiled(model)
    train(second, other)
    torch.testing.assert_close(flat(model), flat(plain), rtol=0, atol=0)
    fast.eval()
    plain.eval()
    torch.testing.assert_close(fast(rows()[0]), plain(rows()[0]), rtol=0, atol=0)
    assert (model._compiled_call_impl is not None) is (how == "in place")
    other.detach()
    torch._dynamo.reset()


def test_a_wrapper_counts_as_its_network() -> None:
    model = network()
    fast = compiled(model)
    _, reg = attached(fast)
    with pytest.raises(tp.ConfigError, match="attached already"):
        attached(model)
    reg.detach()
    _, reg = attached(model)
    with pytest.raises(tp.ConfigError, match="attached already"):
        attached(fast)


@pytest.mark.parametrize("in_place", [False, True])
def test_the_split_form_runs_a_compiled_network_as_it_is_written(in_place: bool) -> None:
    model = network()
    fast: Any = model if in_place else compiled(model)
    if in_place:
        model.compile(backend="eager")
    fast(rows()[0])
    _, reg = attached(fast, tp.Cocktail(tp.Dropout(0.5)))
    for _ in range(2):
        x, _ = reg.batch(*rows())
        first = fast(x)
        reg.penalty()
        x, _ = reg.batch(*rows())
        assert not torch.equal(fast(x), first)
        reg.penalty()
    x, _ = rows()
    assert torch.equal(fast(x), fast(x))
    torch._dynamo.reset()


# Buffers and modules with rules of their own


def test_a_buffer_that_the_network_sets_anew_is_kept() -> None:
    """As in a loop without a cocktail."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.seen + 1
            return self.body(x)

    model = Counting()
    optimizer, reg = attached(model, tp.Cocktail(tp.L2(0.1)))
    train(optimizer, reg, 3)
    assert float(model.get_buffer("seen")) == 3.0


def test_parametrized_modules() -> None:
    model = network()
    torch.nn.utils.parametrizations.weight_norm(model[0])
    optimizer, reg = attached(model)
    train(optimizer, reg)
    twin = copy.deepcopy(model)
    assert torch.equal(flat(twin), flat(model)) and hooks(twin) == hooks(model)
