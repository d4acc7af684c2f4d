"""What a download's child process may touch: an audit hook that can't be taken off again.

yt-dlp has no guard against internal addresses.  Checking a URL beforehand would not do: a
redirect leads elsewhere, and a name can resolve to another address the second time.  So the
check is on the very address that is being connected to, inside the interpreter, for every
library alike (PEP 578).  Native code is not seen by audit hooks; its way in is ``import``,
which is.
"""

from __future__ import annotations

import os
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from services.downloader.addresses import Network, is_allowed
from shared.errors import Code, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Modules that open connections in native code, behind the hook's back.  yt-dlp uses the first
#: where it is installed, and does without where it can't be imported.
NATIVE_CLIENTS: Final = frozenset({"curl_cffi", "pycurl", "obstore", "zmq", "grpc"})


class Guard:
    """Refuses connections to forbidden addresses, other programs, and native network clients."""

    def __init__(self, *, allow: tuple[Network, ...], programs: frozenset[str]) -> None:
        """``programs`` are the absolute paths of the only executables that may be started."""
        self._allow = allow
        self._programs = programs
        #: The first address that was refused: a library may have swallowed the exception.
        self.refused: str | None = None
        self._checks: Mapping[str, Callable[[tuple[Any, ...]], None]] = MappingProxyType(
            {
                "socket.connect": self._check_address,
                "socket.sendto": self._check_address,
                "socket.sendmsg": self._check_message,
                "socket.bind": _refuse,
                "subprocess.Popen": self._check_program,
                "os.posix_spawn": self._check_program,
                "os.exec": _refuse,
                "os.spawn": _refuse,
                "os.system": _refuse,
                "os.fork": _refuse,
                "os.forkpty": _refuse,
                "pty.spawn": _refuse,
                "ctypes.dlopen": self._check_library,
                "import": _check_import,
            }
        )

    def install(self) -> None:
        """From here on, until the process ends."""
        sys.addaudithook(self._audit)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        check = self._checks.get(event)
        if check is not None:
            check(args)

    def _check_address(self, args: tuple[Any, ...]) -> None:
        address = args[1]
        # Internet addresses are (host, port, …); anything else (a UNIX path) is local.
        host = address[0] if isinstance(address, tuple) and address else address
        if isinstance(host, str) and is_allowed(host, self._allow):
            return
        self.refused = self.refused or str(host)[:100]
        # Not an OSError: those are taken for a bad connection and tried again.
        raise TerminalError(Code.SOURCE_FORBIDDEN_ADDRESS, str(host)[:100])

    def _check_message(self, args: tuple[Any, ...]) -> None:
        if args[1] is not None:  # None: the socket is connected, and was checked then
            self._check_address(args)

    def _check_program(self, args: tuple[Any, ...]) -> None:
        if args[0] is None or os.fsdecode(args[0]) not in self._programs:
            _refuse(args)

    def _check_library(self, args: tuple[Any, ...]) -> None:
        if args[0] is not None:  # None: the interpreter itself, which ``import ctypes`` opens
            _refuse(args)


def _refuse(args: tuple[Any, ...]) -> None:
    message = f"not allowed in a download: {str(args[:1])[:100]}"
    raise PermissionError(message)


def _check_import(args: tuple[Any, ...]) -> None:
    if str(args[0]).partition(".")[0] in NATIVE_CLIENTS:
        message = f"{args[0]} bypasses the guard"
        raise ImportError(message)
