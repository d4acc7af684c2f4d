"""What the command line is told about the stack it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The broker's usual port, taken if it is free.
NATS_PORT: Final = 4222
#: The web server's usual port.
HTTP_PORT: Final = 8080
LOCALHOST: Final = "127.0.0.1"


class StackConfig(Struct, frozen=True, kw_only=True):
    """One local stack."""

    data: Path
    port: int = HTTP_PORT
    #: The broker's port; 0 takes a free one, and so does a port that is taken.
    nats_port: int = NATS_PORT
    #: How many of each service; of several schedulers one acts and the others stand by.
    gateways: int = 1
    schedulers: int = 1
    downloaders: int = 1
    separators: int = 1
    #: Folder with model packages; beside the published models.
    models: Path | None = None
    #: Networks that URLs may lead into, beside those that the environment lists.
    allow_networks: tuple[str, ...] = ()

    @property
    def logs(self) -> Path:
        """Folder of the services' logs."""
        return self.data / "logs"

    @property
    def note(self) -> Path:
        """File that says where the running stack is."""
        return self.data / "stack.json"


def default_data(environ: Mapping[str, str] = os.environ) -> Path:
    """``STEMBUS_DATA``, or the user's data folder as freedesktop.org names it."""
    if given := environ.get("STEMBUS_DATA"):
        return Path(given).expanduser().resolve()
    home = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser().resolve() / "stembus"
