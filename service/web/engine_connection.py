"""One HTTP request over a connection of its own: an address and a body go in, a reply whose body is to come goes out.

The standard library's HTTP/1.1 client, on a unix socket or on TCP with or without TLS. Another thread (a greenlet under
gevent) can end it at any moment: it is shown each socket as soon as that is connected.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from urllib.parse import quote, urlsplit

from service import sockets

CONNECT_TIMEOUT_S = 5
PORTS = {"http": 80, "https": 443}
# What a path may hold as it is (RFC 3986, section 3.3), and the sign of what is escaped already.
PATH = "/:@!$&'()*+,;=~%"


class Unreachable(OSError):
    """There is no connection; its cause says why."""


@dataclass(frozen=True)
class Way:
    """How the server is reached: its unix socket, or what its certificate is held against; neither is plain TCP."""

    unix_socket: Path | None = None
    tls: ssl.SSLContext | None = None


class Reply:
    """The head of a reply, and its body, which is read once. Close it in any case."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises: OSError, HTTPException, also for one that is shorter than announced."""
        if self._response.length is not None:
            # All of it: read1 waits beyond such a body's end before Python 3.11.8 (python/cpython#113199).
            yield self._response.read()
        while chunk := self._response.read1():
            yield chunk

    def close(self) -> None:
        self._response.close()
        self._connection.close()


class _Connection(HTTPConnection):
    def __init__(self, url: str, way: Way, timeout_s: float, watch: Callable[[socket.socket], None]) -> None:
        parts = urlsplit(url)
        self.default_port = PORTS[parts.scheme]  # which a Host header leaves out
        super().__init__(parts.hostname or "", parts.port or self.default_port)
        self._way = way
        self._timeout_s = timeout_s
        self._watch = watch

    def connect(self) -> None:
        """Connect; whoever asked closes it, also where this fails half-way."""
        try:
            self._connect()
            # Not before it is connected: what is shut down until then connects nevertheless.
            self._watch(self.sock)
            if self._way.tls:
                # TLS takes the connection over under a new socket object.
                name = self.host
                self.sock = self._way.tls.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
                self._watch(self.sock)
                self.sock.do_handshake()
            self.sock.settimeout(self._timeout_s)
        except (OSError, UnicodeError) as error:  # the latter from a name that no host can have
            raise Unreachable(str(error)) from error

    def _connect(self) -> None:
        if self._way.unix_socket:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(CONNECT_TIMEOUT_S)
            self.sock.connect(sockets.short(self._way.unix_socket))
        else:
            self.sock = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def ask(
    url: str,
    way: Way,
    timeout_s: float,
    watch: Callable[[socket.socket], None],
    headers: dict[str, str],
    body: bytes | None = None,
) -> Reply:
    """GET, or POST the body, and wait for the reply's head. Raises: Unreachable, other OSError, HTTPException.

    `timeout_s` is the longest silence while the reply is awaited and read.
    """
    connection = _Connection(url, way, timeout_s, watch)
    try:
        # A server may refuse a body before it has read all of it: its reply is still there to be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            target = quote(urlsplit(url).path, safe=PATH)
            connection.request("GET" if body is None else "POST", target, body, {"User-Agent": "ferry", **headers})
        response = connection.getresponse()
        if _is_broken_off(response):
            raise IncompleteRead(b"")
        return Reply(connection, response)
    except BaseException:
        connection.close()
        raise


def _is_broken_off(response: HTTPResponse) -> bool:
    """Look whether the head came to its end; http.client takes the connection's end for that too."""
    has_body = response.chunked or response.length is not None or "Content-Type" in response.headers
    return bool(response.headers.defects) or not has_body
