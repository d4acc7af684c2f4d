"""Which addresses may be connected to: the whole table."""

from __future__ import annotations

import pytest

from services.downloader.addresses import is_allowed, parse_networks

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"]
FORBIDDEN = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.254", "0.0.0.0", "0.1.2.3",  # noqa: S104 - to be refused, not to be listened on
    "192.0.0.1",
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "192.88.99.1", "224.0.0.1",
    "224.0.1.5", "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12::1",
    "ff02::1", "ff0e::1", "2001:db8::1", "2001::1", "3fff::1", "100::1", "5f00::1", "4000::1",
    "64:ff9b:1::1",
]  # fmt: skip
#: An IPv6 address that leads to an IPv4 one is judged as that.
DISGUISED = [
    ("::ffff:127.0.0.1", False),
    ("::ffff:10.0.0.1", False),
    ("::ffff:8.8.8.8", True),
    ("::ffff:0:127.0.0.1", False),
    ("64:ff9b::127.0.0.1", False),
    ("64:ff9b::a9fe:a9fe", False),
    ("64:ff9b::8.8.8.8", True),
    ("2002:7f00:1::1", False),
    ("2002:c0a8:101::", False),
    ("2002:808:808::", True),
]
#: Connecting to a name would resolve it again; other spellings of numbers are refused with them.
NOT_ADDRESSES = ["localhost", "example.org", "", "127.1", "2130706433", "0x7f.1", "1.1.1.1:80"]


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses_are_allowed(host: str) -> None:
    assert is_allowed(host, ())


@pytest.mark.parametrize("host", FORBIDDEN + NOT_ADDRESSES)
def test_everything_else_is_refused(host: str) -> None:
    assert not is_allowed(host, ())


@pytest.mark.parametrize(("host", "allowed"), DISGUISED)
def test_an_address_inside_an_address_is_what_counts(host: str, *, allowed: bool) -> None:
    assert is_allowed(host, ()) is allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("192.168.1.20", True),
        ("::ffff:192.168.1.20", True),
        ("192.168.2.20", False),
        ("fd12::9", True),
        ("8.8.8.8", True),
        ("localhost", False),
    ],
)
def test_listed_networks_are_allowed_too(host: str, *, allowed: bool) -> None:
    assert is_allowed(host, parse_networks(("192.168.1.0/24", "fd12::/64"))) is allowed


@pytest.mark.parametrize("text", ["everything", "10.0.0.1/8", "300.0.0.0/8"])
def test_a_bad_network_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=text.partition("/")[0]):
        parse_networks((text,))
