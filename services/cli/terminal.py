"""Where a command says things, and how it ends."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final, NoReturn

import typer
from rich.console import Console

from services.cli.answers import ApiError, LostError, StrangeAnswerError, UnreachableError
from services.cli.exits import Exit, refused_exit
from services.cli.plain import json_line, plain
from services.cli.show.problems import refusal_text
from services.cli.sources import SourceError
from services.cli.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec
    from rich.console import RenderableType

#: Columns where the output is no terminal: no row of a table is cut or broken.
_WIDE: Final = 1_000


class Terminal:
    """Results go to standard output, all else to standard error."""

    def __init__(self) -> None:
        self.out = _console(Console(highlight=False))
        self.err = _console(Console(stderr=True, highlight=False))

    def say(self, text: str) -> None:
        """A line for the person."""
        self.err.print(plain(text), markup=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """A line of the result."""
        self.out.print(plain(text), markup=False, soft_wrap=True)

    def show(self, what: RenderableType) -> None:
        """A result for people."""
        self.out.print(what)

    def json(self, record: msgspec.Struct) -> None:
        """A result for programs."""
        self.out.file.write(json_line(record) + "\n")
        self.out.file.flush()

    def refused(self, error: ApiError, about: str = "") -> None:
        """Why the server refused, and what to do; ``about`` names the one of several."""
        self.err.print(refusal_text(error, about), soft_wrap=True)


def carry_out(command: Callable[[Terminal], Awaitable[Exit]]) -> NoReturn:
    """Run a command to its end, and end with its exit code."""
    terminal = Terminal()
    raise typer.Exit(run(terminal, command))


def run(terminal: Terminal, command: Callable[[Terminal], Awaitable[Exit]]) -> Exit:
    """Run a command to its end; failures it can name become words and an exit code."""
    try:
        return asyncio.run(_interruptible(terminal, command))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return Exit.INTERRUPTED
    except ApiError as exc:
        terminal.refused(exc)
        return refused_exit(exc)
    except SourceError as exc:
        terminal.say(str(exc))
        return Exit.USAGE
    except BrokenPipeError:  # whoever read has seen enough; typer ends quietly
        raise
    except OSError as exc:  # a song that can't be read, a folder that can't be written to
        terminal.say(f"{exc.filename or 'this machine'}: {exc.strerror or exc}")
        return Exit.FAILED
    except UnreachableError as exc:
        terminal.say(f"No server answers at {exc}. Start one with: stembus up")
    except LostError as exc:
        terminal.say(f"The connection to {exc} broke, and what came of it is not known.")
    except StrangeAnswerError as exc:
        terminal.say(f"What answers at {exc} is no Stembus server, or one of another version.")
    except StackError as exc:
        terminal.say(str(exc))
    return Exit.NO_SERVER


async def _interruptible(
    terminal: Terminal, command: Callable[[Terminal], Awaitable[Exit]]
) -> Exit:
    """SIGTERM and Ctrl-C cancel the command, so that what it started is stopped in order."""
    task = asyncio.ensure_future(command(terminal))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task


def _console(console: Console) -> Console:
    if not console.is_terminal:
        console.width = _WIDE
    return console
