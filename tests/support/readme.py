"""The parts of README.md that are drawn from the code: ``python -m tests.support.readme``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Final

import msgspec

from services.downloader.config import DownloaderConfig
from services.gateway.config import GatewayConfig
from services.scheduler import chart
from services.scheduler.config import SchedulerConfig
from services.separator.config import SeparatorConfig
from shared.settings import ServiceConfig, variable_of

README: Final = Path(__file__).parents[2] / "README.md"
CONFIGS: Final[dict[str, type[ServiceConfig]]] = {
    "all": ServiceConfig,
    "gateway": GatewayConfig,
    "scheduler": SchedulerConfig,
    "downloader": DownloaderConfig,
    "separator": SeparatorConfig,
}


def settings_rows() -> list[str]:
    """A table row for each setting: its variable, its service, its default, its comment."""
    rows: list[str] = []
    for service, config in CONFIGS.items():
        own = {info.name: info for info in msgspec.structs.fields(config)}
        if config is not ServiceConfig:
            for info in msgspec.structs.fields(ServiceConfig):
                del own[info.name]
        comments = _comments(inspect.getsource(config))
        rows += [
            f"| `{variable_of(name)}` | {service} | {_default(info.default)} | {comments[name]} |"
            for name, info in own.items()
        ]
    return rows


def _default(value: object) -> str:
    shown = ",".join(value) if isinstance(value, tuple) else str("" if value is None else value)
    return f"`{shown}`" if shown else ""


def _comments(source: str) -> dict[str, str]:
    """The ``#:`` comment above each field; a field without one shares that of the one above."""
    found: dict[str, str] = {}
    comment: list[str] = []
    fresh = True
    for line in source.splitlines():
        if match := re.match(r"\s+#: (.*)", line):
            comment = [*([] if fresh else comment), match[1]]
            fresh = False
        elif match := re.match(r"    (\w+): .*=", line):
            found[match[1]] = " ".join(comment).replace("``", "`").replace("|", "\\|")
            fresh = True
    return found


def current(text: str) -> str:
    """The README ``text`` with its drawn parts as the code has them now."""
    drawn = f"<!-- state chart: begin -->\n```mermaid\n{chart.mermaid()}```\n"
    text = re.sub(
        r"<!-- state chart: begin -->.*?(?=<!-- state chart: end -->)",
        lambda _: drawn,
        text,
        flags=re.DOTALL,
    )
    table = "\n".join(settings_rows())
    return re.sub(
        r"(?<=\|---\|---\|---\|---\|\n)(?:<!-- settings -->|(?:\| `STEMBUS_.*\n)*\| `STEMBUS_.*)",
        lambda _: table,
        text,
    )


if __name__ == "__main__":
    README.write_text(current(README.read_text()))
