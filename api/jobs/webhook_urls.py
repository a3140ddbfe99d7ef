"""Where webhooks may go: to the public internet alone, and to ports that the operator allows.

What an address says is checked when a run is accepted; what its name resolves to, and the port, each time something is
sent.
"""

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from api.settings import Settings
from api.storage.errors import BadRequest
from api.storage.texts import MAX_URL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_HOST = 253
NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# A last label that begins with a digit is what some resolvers read as an address: 2130706433, 0x7f.1, 127.0.0.010.
LAST_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])")
# Names that are of one machine or one network by their kind (RFC 6761, RFC 6762 and what networks use in practice).
PRIVATE_NAMES = frozenset(
    ("alt", "arpa", "corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain",
     "localhost", "onion", "private", "test")
)  # fmt: skip


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet, also where it carries another address inside."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return is_public(inner)
        if any(address in network for network in NAT64):
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_url(url: str, settings: Settings, allowed: Callable[[Address], bool] = is_public) -> None:
    """Raises BadRequest for an address that no webhook is sent to."""

    def refuse(message: str) -> BadRequest:
        return BadRequest("webhook_url", message)

    if not settings.webhook_secret:
        raise refuse("is given, but this service signs no webhooks (WEBHOOK_SECRET is blank)")
    if len(url) > MAX_URL:
        raise refuse(f"has {len(url)} characters; expected at most {MAX_URL}")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise refuse("has a character that no address has; expected letters of ASCII, others in their escaped form")
    try:
        # Two readers: what they read differently may lead elsewhere than it seems to.
        split, sent = urlsplit(url), httpx.URL(url)
        agree = (split.hostname or "", split.port) == (sent.raw_host.decode("ascii").lower(), written_port(url, sent))
    except (ValueError, httpx.InvalidURL) as error:
        raise refuse("is no address; expected https://host/path") from error
    schemes = ("https",) if settings.env == "production" else ("https", "http")
    if split.scheme not in schemes or not split.hostname or not agree:
        raise refuse(f"is no address; expected {' or '.join(schemes)}://host/path")
    if split.username is not None or split.password is not None:
        raise refuse("holds a name or password; expected none")
    if (fault := host_fault(split.hostname, allowed) or port_fault(sent, settings)) is not None:
        raise refuse(fault)


def written_port(url: str, sent: httpx.URL) -> int | None:
    """The port in the address; the sender's reading leaves the scheme's own out."""
    if sent.port is None and urlsplit(url).port in (80, 443):
        return {"http": 80, "https": 443}.get(sent.scheme)
    return sent.port


def port_of(url: httpx.URL) -> int:
    """The port that is connected to."""
    return url.port or (443 if url.scheme == "https" else 80)


def port_fault(url: httpx.URL, settings: Settings) -> str | None:
    """What is wrong with the port of an address, if anything."""
    port, allowed = port_of(url), settings.used_webhook_ports
    if port in allowed:
        return None
    return f"has the port {port}; expected {' or '.join(map(str, allowed))} (WEBHOOK_PORTS)"


def host_fault(host: str, allowed: Callable[[Address], bool]) -> str | None:
    """What is wrong with a host, if anything: neither a public address nor a name that could be one's."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return None if allowed(literal) else "is not on the public internet"
    labels = host.lower().removesuffix(".").split(".")
    sound = len(host) <= MAX_HOST and all(LABEL.fullmatch(label) for label in labels)
    if not sound or not LAST_LABEL.fullmatch(labels[-1]):
        return f"has the host {host[:80]!r}; expected a public address or a name such as hooks.example.com"
    if len(labels) < 2 or labels[-1] in PRIVATE_NAMES:
        return f"has the host {host[:80]!r}, which is not on the public internet"
    return None
