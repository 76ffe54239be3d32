"""Whose word is taken for where a request comes from: `[web] trusted_proxies`, as a WSGI middleware.

In: the peer's address and X-Forwarded-For, X-Forwarded-Proto. Out: REMOTE_ADDR is the client's, the right-most address
that is no trusted proxy's (a client can write whatever it likes to the left of that); wsgi.url_scheme is what the
browser used; and IS_TRUSTED says whether the peer itself is one of the proxies.

The scheme is believed of this machine too: it only decides whether a cookie is marked Secure, and an nginx here that
nobody has named must not lose that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IS_TRUSTED = "ferry.is_trusted_proxy"


class Proxies:
    def __init__(self, app: Callable[..., Iterable[bytes]], trusted: Sequence[str]) -> None:
        self._app = app
        self._trusted = [ipaddress.ip_network(text, strict=False) for text in trusted]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        peer = parsed(environ.get("REMOTE_ADDR", ""))
        is_trusted = environ[IS_TRUSTED] = peer is not None and self._trusts(peer)
        if peer is not None:
            environ["REMOTE_ADDR"] = str(peer)
            if is_trusted:
                environ["REMOTE_ADDR"] = str(self._client(peer, environ.get("HTTP_X_FORWARDED_FOR", "")))
            if is_trusted or peer.is_loopback:
                _raise_scheme(environ)
        return self._app(environ, start_response)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def _client(self, peer: Address, forwarded: str) -> Address:
        """Walk from the peer to the client, as far as the chain is one of trusted proxies and of addresses."""
        client = peer
        for word in reversed(forwarded.split(",")):
            address = parsed(word.strip())
            if address is None:
                break
            client = address
            if not self._trusts(address):
                break
        return client


def parsed(text: str) -> Address | None:
    """Read an address, with or without a port; an IPv4 address inside IPv6 becomes itself again."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _raise_scheme(environ: dict[str, Any]) -> None:
    if environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower() == "https":
        environ["wsgi.url_scheme"] = "https"
