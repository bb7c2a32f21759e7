"""Commands that write what other machines install: triton, package."""

import typer

PANEL = "Deploy"
commands = typer.Typer()
