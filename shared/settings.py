"""Configuration: read once from the environment into a frozen struct."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "STEMBUS_"


class SettingError(ValueError):
    """A variable's value can't be used; the message names it and says what is allowed."""


class ServiceConfig(Struct, frozen=True, kw_only=True):
    """What every service needs to know.  Field ``x_y`` is read from ``STEMBUS_X_Y``."""

    #: Address of the NATS server, credentials included where it wants some.
    nats_url: str = "nats://127.0.0.1:4222"
    #: Blob store: ``file:///folder`` or ``s3://bucket/prefix``.
    blobs_url: str = "file:///tmp/stembus/blobs"
    #: Folder for files in the making; a service may empty its own part at start.
    scratch_dir: str = "/tmp/stembus/scratch"  # noqa: S108 - a default for running one by hand
    #: Address and port of /health, /ready and /metrics; port 0 takes a free one.
    health_host: str = "127.0.0.1"
    health_port: int = 0
    #: Seconds that an orderly stop may take before work is handed back.
    grace_seconds: float = 10.0
    #: debug, info, warning or error.
    log_level: Literal["debug", "info", "warning", "error"] = "info"


C = TypeVar("C", bound=ServiceConfig)


def variable_of(field: str) -> str:
    """The environment variable of a configuration field."""
    return PREFIX + field.upper()


def read_settings(kind: type[C], environ: Mapping[str, str]) -> C:
    """The configuration that ``environ`` describes; ``SettingError`` names the first bad value."""
    values: dict[str, Any] = {}
    for info in msgspec.structs.fields(kind):
        name = variable_of(info.name)
        if (text := environ.get(name, "")) == "":
            continue
        is_list = isinstance(msgspec.inspect.type_info(info.type), msgspec.inspect.VarTupleType)
        parts = [part.strip() for part in text.split(",")]
        raw = [part for part in parts if part] if is_list else text
        try:
            values[info.name] = msgspec.convert(raw, info.type, strict=False)
        except msgspec.ValidationError as exc:
            message = f"{name}={text!r}: {exc}"
            raise SettingError(message) from exc
    return kind(**values)
