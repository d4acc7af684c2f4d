"""Configuration from the environment: every type, and errors that name the variable."""

from __future__ import annotations

import msgspec
import pytest

from services.downloader.config import DownloaderConfig
from services.gateway.config import GatewayConfig
from services.scheduler.config import SchedulerConfig
from services.separator.config import SeparatorConfig
from shared.settings import ServiceConfig, SettingError, read_settings, variable_of


class Config(ServiceConfig, frozen=True, kw_only=True):
    """A setting of each type."""

    count: int = 3
    share: float = 0.5
    bold: bool = False
    name: str = "n"
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = (1,)
    folder: str | None = None


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Config() == read_settings(Config, {"PATH": "/bin", "HOME": "/"})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7),
        ("count", "-1", -1),
        ("share", "0.25", 0.25),
        ("share", "2", 2.0),
        ("bold", "true", True),
        ("bold", "1", True),
        ("bold", "false", False),
        ("bold", "0", False),
        ("name", "a, b", "a, b"),
        ("names", "a", ("a",)),
        ("names", "a, b ,c", ("a", "b", "c")),
        ("names", "a,,b,", ("a", "b")),
        ("names", " , ", ()),
        ("sizes", "4,5", (4, 5)),
        ("folder", "/x", "/x"),
        ("nats_url", "nats://h:1", "nats://h:1"),
        # Empty is as good as not there: compose files pass on what is not set.
        ("count", "", 3),
        ("names", "", ()),
    ],
)
def test_a_variable_becomes_a_value(name: str, text: str, value: object) -> None:
    config = read_settings(Config, {variable_of(name): text})
    assert msgspec.structs.replace(Config(), **{name: value}) == config


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("count", "seven", "int"),
        ("count", "7.5", "int"),
        ("share", "half", "float"),
        ("bold", "perhaps", "bool"),
        ("sizes", "1,two", "int"),
        ("health_port", "http", "int"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_what_is_allowed(
    name: str, text: str, allowed: str
) -> None:
    with pytest.raises(SettingError) as caught:
        read_settings(Config, {variable_of(name): text})
    said = str(caught.value)
    assert said.startswith(f"STEMBUS_{name.upper()}={text!r}: ")
    assert allowed in said


def test_a_variable_without_the_prefix_is_not_ours() -> None:
    assert Config() == read_settings(Config, {"COUNT": "7", "STEMBUS_UNKNOWN": "x"})


@pytest.mark.parametrize(
    "kind", [ServiceConfig, SchedulerConfig, GatewayConfig, DownloaderConfig, SeparatorConfig]
)
def test_every_service_starts_with_nothing_set(kind: type[ServiceConfig]) -> None:
    assert kind() == read_settings(kind, {})


def test_a_configuration_can_t_be_changed() -> None:
    with pytest.raises(AttributeError):
        ServiceConfig().nats_url = "x"  # type: ignore[misc] # that is the point
