"""Options that several commands share: one declaration and one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

Folder = Annotated[str, typer.Argument(metavar="DIR", help="Folder that fit wrote.", show_default=False)]
Model = Annotated[str | None, typer.Option(metavar="FILE.py:build", help="The function given to fit --model. The file is run.", show_default=False)]
Backbone = Annotated[
    str | None,
    typer.Option(metavar="FILE.py:build", help="The function given to fit --backbone. The file is run. Networks of timm need none.", show_default=False),
]
Rows = Annotated[str | None, typer.Option(metavar="FILE", help="The data given to fit, if it has moved.", show_default=False)]
Trains = Annotated[str | None, typer.Option(metavar="D", help="Device to train on: auto, cpu, cuda or cuda:1. Default: as in the fit.", show_default=False)]
Computes = Annotated[str, typer.Option(metavar="D", help="Device: auto, cpu, cuda or cuda:1.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Storage = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Database for the finished trials: postgresql://USER@HOST/DATABASE or sqlite:///FILE.", show_default=False),
]
StudyName = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the study in the database. Default: the name of DIR.", show_default=False)]
