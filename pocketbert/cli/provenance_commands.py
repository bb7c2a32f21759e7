"""Commands about the origin of a bundle: sign, push."""

import typer

PANEL = "Deploy"
commands = typer.Typer()
