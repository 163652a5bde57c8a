"""The forward pass of a loop that calls the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from torch import nn

from temperance.core.hooks import Hook, bare, uncompiled
from temperance.core.passes import Pass
from temperance.core.program import Program
from temperance.core.regularizer import Regularizer


class OpenPass:
    """Hooks on a network from when a minibatch is changed until its penalty is asked for.

    Args:
        program: which acts on hidden units meanwhile.
        model: the network as the loop calls it.
    """

    def __init__(self, program: Program, model: nn.Module) -> None:
        self.program, self.model = program, model
        self._pass: Pass | None = None
        self._around, self._handles = ExitStack(), list[Any]()

    def __getstate__(self) -> dict[str, Any]:
        """A pass that is open stays with the first."""
        return {**self.__dict__, "_pass": None, "_around": ExitStack()}

    def open(self, bound: Mapping[str, Regularizer], context: Any) -> None:
        """Hook the network for a pass with these regularizers; one that was open is over."""
        self.close()
        self._pass = Pass("train", bound, context)
        self._around.enter_context(uncompiled(self.model))
        self._watch()
        self._around.callback(bare(self.model).register_forward_pre_hook(Hook(self._look), with_kwargs=True).remove)

    def close(self) -> Pass | None:
        """Remove every hook; the pass that was open, if one was."""
        ended, self._pass = self._pass, None
        self._around.close()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        return ended

    def _now(self) -> Pass | None:
        """The pass, for the hooks: not in evaluation mode, nor inside a pass of the program's own."""
        return self._pass if self.model.training and self.program.current is None else None

    def _watch(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = self.program.watch(self._now)

    def _look(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Find which units are hidden when the network is called, with whatever arguments."""
        one = self._now()
        if one is None:
            return
        self._pass = None  # the look is no pass
        try:
            if self.program.observe(*args, **kwargs):
                self._watch()
        finally:
            self._pass = one
