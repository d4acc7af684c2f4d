"""How a command ends, for shells."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from services.cli.answers import BatchView
from shared.contracts.job import Status

if TYPE_CHECKING:
    from services.cli.answers import ApiError
    from shared.contracts.snapshot import Snapshot


class Exit(IntEnum):
    """Exit codes."""

    DONE = 0
    #: The job failed, or the server refused.
    FAILED = 1
    #: The command line itself is wrong (typer's own).
    USAGE = 2
    #: No server answers, or the stack can't be started.
    NO_SERVER = 3
    CANCELLED = 4
    #: The server can't take it now; it may in a while.
    BUSY = 5
    #: Ctrl-C.
    INTERRUPTED = 130


def refused_exit(error: ApiError) -> Exit:
    """How a command ends that the server has refused."""
    return Exit.BUSY if error.busy else Exit.FAILED


def ended_exit(ended: Snapshot | BatchView) -> Exit:
    """What a job's end, or a batch's, is to a shell: 0 only if all that was asked for is there."""
    if isinstance(ended, BatchView):
        if ended.state == Status.CANCELLED:
            return Exit.CANCELLED
        return Exit.FAILED if ended.state == Status.FAILED or ended.skipped else Exit.DONE
    if ended.status is Status.CANCELLED:
        return Exit.CANCELLED
    return Exit.FAILED if ended.status is Status.FAILED else Exit.DONE
