"""The function of a user's own file that makes a network. The file is run: only who named it may have it run."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from temperance.core.errors import ConfigError


def load_build(text: str, option: str = "--model") -> Callable[[Any], nn.Module]:
    """The function of ``FILE.py:build``, which the user named.

    Args:
        text: the file, which is run, and the function.
        option: what named it, for messages.

    Raises:
        ConfigError: no such file or function, or the file cannot be run.
    """
    file, _, name = text.rpartition(":")
    if not file or not name.isidentifier():
        raise ConfigError(f"Expected `{option}` to be written FILE.py:build, got {text!r}.")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"Expected `{option}` to name a Python file, got {file!r}, which does not exist.")
    spec = importlib.util.spec_from_file_location(f"temperance_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"Expected `{option}` to name a Python file, got {file!r}.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises is told as the user's
        raise ConfigError(f"`{option}`: {file} cannot be run: {type(error).__name__}: {error}.") from error
    if not callable(getattr(module, name, None)):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"Expected {file} to have a function {name!r}, found {', '.join(known) or 'none'}.")
    build = getattr(module, name)

    def checked(data: Any) -> nn.Module:
        try:
            return build(data)
        except Exception as error:  # likewise
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == spec.origin]
            where = f"{file}:{lines[-1]}" if lines else file
            raise ConfigError(f"`{option}`: {name}(data) failed at {where}: {type(error).__name__}: {error}.") from error

    return checked
