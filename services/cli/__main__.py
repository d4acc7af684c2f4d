"""The ``stembus`` command."""

from __future__ import annotations

import typer

from services.cli.commands import batches, jobs, songs, stack, watching

app = typer.Typer(
    help="Songs in, stems out.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)
for theme in (stack, songs, jobs, watching, batches):
    app.add_typer(theme.app)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
