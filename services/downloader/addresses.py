"""Which network addresses a download may connect to.  Pure.

Whoever names a URL must not get to use this machine as a door into the network it stands in.
So only addresses of the public internet are allowed, and what the operator lists.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = IPv4Network | IPv6Network

#: Networks that ``ipaddress`` calls global though nothing public answers there.
_NOT_PUBLIC_V4: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, deprecated (RFC 7526)
)
_NOT_PUBLIC_V6: Final = (
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them (RFC 2928, RFC 4380)
    IPv6Network("2001:db8::/32"),  # documentation (RFC 3849)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
)
#: All global unicast addresses handed out so far (RFC 4291, IANA's registry).
_UNICAST_V6: Final = IPv6Network("2000::/3")
#: An IPv6 network that leads to the IPv4 address in the last 32 bits (RFC 6052).
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks in CIDR notation, or single addresses; ``ValueError`` names what is neither."""
    return tuple(ip_network(text) for text in texts)


def is_allowed(host: str, allow: Iterable[Network]) -> bool:
    """Whether a connection to ``host`` is allowed: public, or inside one of ``allow``.

    ``host`` must be an address: a name is refused, because it may mean something else by the
    time it is connected to.
    """
    try:
        # The zone of a link-local address (fe80::1%eth0) names an interface, not a place.
        address = _destination(ip_address(host.partition("%")[0]))
    except ValueError:
        return False
    return any(address in network for network in allow) or _is_public(address)


def _destination(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Where packets end: the IPv4 address inside an IPv6 one that carries one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
        if address in _SIX_TO_FOUR:
            return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    return address in _UNICAST_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
