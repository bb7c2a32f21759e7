"""Commands that answer requests: serve, demo."""

import typer

PANEL = "Deploy"
commands = typer.Typer()
