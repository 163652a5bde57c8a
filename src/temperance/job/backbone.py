"""The backbone of a fit of images: named by the user, run once over every image, and saved with the networks that read its features."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temperance.core.errors import ConfigError, expected
from temperance.data import Dataset
from temperance.data.image_files import Told
from temperance.job.build import load_build
from temperance.nets.backbone import TIMM, a_parameter, backbone_of, center_and_spread, features_of, from_timm
from temperance.nets.init import build_seeded
from temperance.nets.on_features import AT_ONCE, OnFeatures

LARGEST_SIDE = 224  # pixels of an image that goes through a backbone: what most of them have learned from
PROBED, AGREE = 16, 1e-2  # features of a made-up image that are noted, and how far they may be off later, as a share of the largest
OPTION = "--backbone"
_MEND = "Give FILE.py:build, whose build(data) returns a network without its last layer, or timm:NAME."


@dataclass(frozen=True)
class Named:
    """A backbone that somebody named.

    Attributes:
        source: the name.
        build: makes the network, from a data set of one image of the right shape.
    """

    source: str
    build: Callable[[Any], nn.Module]


def named(text: str) -> Named:
    """The backbone ``FILE.py:build`` or ``timm:NAME``; the file is run, the weights of timm are downloaded if they are not there.

    Raises:
        ConfigError: neither, no such file or name, or no timm.
    """
    if text.startswith(TIMM):
        network = backbone_of(text, "fit")
        assert network is not None
        return Named(text, lambda data: network)
    if ".py:" not in text:
        raise ConfigError(expected("backbone", "fit", "to be FILE.py:build or timm:NAME", text, _MEND))
    return Named(text, load_build(text, OPTION))


def remembered(source: str) -> Callable[[Any], nn.Module] | None:
    """What builds the backbone that a model's file names, if that needs no code but timm's own; its weights are those of the model.

    Example:
        >>> remembered("net.py:build") is remembered("timm:hf-hub:somebody/network") is None
        True
    """
    name = source.removeprefix(TIMM)
    if name == source or not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?", name):
        return None
    return lambda data: from_timm(name, pretrained=False)


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that has seen all images of a fit, and how its features are standardized.

    Attributes:
        source: its name.
        network: itself, in evaluation mode and without gradients.
        center: mean of every feature, in the training rows.
        spread: standard deviation likewise.
    """

    source: str
    network: nn.Module
    center: Tensor
    spread: Tensor

    def under(self, head: nn.Module) -> OnFeatures:
        """A network that reads features, as one that reads images."""
        return OnFeatures(self.network, head, self.center, self.spread, self.source)


def learned(given: Named, images: Dataset, rows: np.ndarray, blank: Dataset, told: Told | None = None) -> tuple[Backbone, Dataset]:
    """The backbone, and the data set of features that takes the place of one of images.

    Args:
        given: what makes it.
        images: all rows, with values in [0, 1].
        rows: those from which means and standard deviations are learned.
        blank: one row of the right shape.
        told: hears the share of the images that went through.

    Raises:
        ConfigError: no network, one that takes other images, or one that returns no features.
        DataError: a feature is not finite.
    """
    network = made(given.build, blank)
    raw: list[Tensor] = []
    assert isinstance(images.x, Tensor)
    with torch.no_grad():
        for a in range(0, len(images), AT_ONCE):
            part = images.x[a : a + AT_ONCE].to(a_parameter(network).dtype)
            short = AT_ONCE - len(part)  # blocks of one size: an image has the same features as when it is predicted
            full = torch.cat([part, part[:1].expand(short, *part.shape[1:])]) if short else part
            raw.append(features_of(network, full, a)[: len(part)].float())
            if told is not None:
                told(min(1.0, (a + AT_ONCE) / len(images)))
    found = torch.cat(raw)
    center, spread = center_and_spread(found[torch.from_numpy(np.asarray(rows))])
    x = {"num": (found - center) / spread, "cat": torch.zeros(len(found), 0, dtype=torch.long)}
    return Backbone(given.source, network, center, spread), replace(images, x=x)


def features_row(width: int) -> dict[str, Tensor]:
    """One empty row of so many features."""
    return {"num": torch.zeros(1, width), "cat": torch.zeros(1, 0, dtype=torch.long)}


def made(build: Callable[[Any], nn.Module], blank: Dataset) -> nn.Module:
    """The network, in evaluation mode and without gradients.

    Raises:
        ConfigError: it is none.
    """
    network = build_seeded(lambda: build(blank), 0)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"Expected `{OPTION}` to return an nn.Module, got {type(network).__name__}. {_MEND}")
    return network.eval().requires_grad_(False)


def probe(model: OnFeatures, shape: Sequence[int]) -> list[float]:
    """Some features of a made-up image, by which a network of another make is told: a ramp from black to white."""
    ramp = torch.linspace(0, 1, math.prod(shape)).reshape(1, *shape)
    with torch.no_grad():
        found = model.features(ramp.to(model.center.device))["num"] * model.spread + model.center
    return [float(v) for v in found[0, :PROBED]]


def work(network: nn.Module, shape: Sequence[int]) -> int:
    """Multiplications of the convolutions and linear layers for one image.

    Example:
        >>> work(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 5)), (1, 4, 4))
        112
    """
    count = 0

    def note(module: Any, inputs: Any, output: Any) -> None:
        nonlocal count
        count += output[0].numel() * module.weight[0].numel()

    layers = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            network(torch.zeros(1, *shape, dtype=a_parameter(network).dtype))
    finally:
        for handle in handles:
            handle.remove()
    return count


def about(model: OnFeatures, shape: Sequence[int]) -> dict[str, Any]:
    """What the model's file says of its backbone."""
    return {"source": model.source, "features": len(model.center), "probe": probe(model, shape)}


def reopened(
    said: Mapping[str, Any], given: Callable[[Any], nn.Module] | str | None, head: nn.Module, blank: Dataset, state: Mapping[str, Tensor], place: str
) -> OnFeatures:
    """The model of a file that has a backbone, with its weights.

    Args:
        said: what :func:`about` wrote.
        given: the function, or the name, that the user gave.
        head: the network on the features.
        blank: one row of images.
        state: the weights of both.
        place: the folder, for messages.

    Raises:
        ConfigError: the backbone is the user's own and was not given, or is another one.
    """
    source, width = str(said["source"]), int(said["features"])
    build = remembered(source) if given is None else load_build(given, OPTION) if isinstance(given, str) and not given.startswith(TIMM) else given
    if isinstance(build, str):
        build = remembered(build) or named(build).build
    if build is None:
        raise ConfigError(
            f"The model reads the features of a network of your own ({ascii(source[:200])[1:-1]}), and loading a model runs no code. Name it yourself, as it "
            f"was given to fit: {OPTION} FILE.py:build."
        )
    model = OnFeatures(made(build, blank), head, torch.zeros(width), torch.ones(width), source)
    changed = "Was the backbone changed since?"
    wanted, found = ({name: tuple(t.shape) for name, t in tensors.items()} for tensors in (model.state_dict(), state))
    strange = sorted(set(wanted.items()) ^ set(found.items()))
    if strange:
        name = strange[0][0]
        got = f"{found.get(name, 'nothing')} for {name[:100]!r} instead of {wanted.get(name, 'nothing')}"
        raise ConfigError(f"Expected the weights in {place} to fit the network and its backbone, got {got}. {changed}")
    model.load_state_dict(dict(state))
    now, then = torch.tensor(probe(model.eval(), blank.in_shape)), torch.tensor([float(v) for v in said["probe"]])
    if now.shape != then.shape or not bool(((now - then).abs() <= AGREE * then.abs().max().clamp_min(1e-6)).all()):
        raise ConfigError(f"Expected the backbone of the model in {place} to give the features that it gave when it was fitted, got other ones. {changed}")
    return model
