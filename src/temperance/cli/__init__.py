"""The command line: ``temperance fit``, ``predict``, ``list``, ``describe`` and ``replay``."""

from temperance.cli.app import main

__all__ = ["main"]
