"""Where the engine is and how it is spoken to: settings come in; an address, a transport and the headers go out.

The engine is this server's own behind its unix socket, or the server that `[engine] url` names. What is asked of it is
left to service.web.engine_client.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from service import sockets
from service.config import ConfigError, Engine

MAX_KEY_BYTES = 8192


@dataclass(frozen=True)
class Address:
    """One engine. `root` is where /health is, `base` where /models and the rest are; `key` is what it wants to see."""

    base: str
    root: str
    is_local: bool
    key: str = ""
    tls: ssl.SSLContext | None = None
    is_told_callers: bool = True

    @classmethod
    def of(cls, settings: Engine) -> Address:
        """Read what the settings name. Raises: ConfigError for a key or certificates that cannot be used."""
        if not settings.url:
            return cls("http://engine/v1", "http://engine", True)
        base = settings.url.rstrip("/")
        tls = _trusted(settings.ca_file) if base.startswith("https://") else None
        return cls(base, _root(base), False, _key(settings.api_key_file), tls, settings.forward_user)

    def headers(self, user: str, conversation: str, per_user: int | None = None) -> dict[str, str]:
        """Return what is sent with a question: the key, and where that is the engine's business who asks.

        `per_user` is how many such questions a user may have at once, where that is not left to the engine.
        """
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if self.is_told_callers:
            headers["X-Ferry-User"] = user
            if conversation:
                headers["X-Ferry-Conversation"] = conversation
            if per_user:
                headers["X-Ferry-Per-User"] = str(per_user)
        return headers

    def transport(self, socket_path: Path) -> httpx.HTTPTransport:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        if self.is_local:
            return httpx.HTTPTransport(limits=limits, uds=sockets.short(socket_path))
        return httpx.HTTPTransport(limits=limits, verify=self.tls if self.tls else True)


def _root(base: str) -> str:
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix("/v1"), "", ""))


def _key(name: str) -> str:
    if not name:
        return ""
    try:
        with Path(name).open("rb") as file:
            key = file.read(MAX_KEY_BYTES).decode("ascii").strip()
    except OSError as error:
        raise ConfigError(
            f"ferry.toml: [engine] api_key_file: {name}: {error.strerror}",
            f"let the service read it: chgrp ferry {name}; chmod 640 {name}",
        ) from error
    except UnicodeDecodeError:
        key = ""
    if not (key and key.isprintable() and " " not in key):
        raise ConfigError(f"ferry.toml: [engine] api_key_file: {name}: holds no API key", "put the key alone into it")
    return key


def _trusted(ca_file: str) -> ssl.SSLContext:
    """Trust the given authority alone, or what this system trusts; httpx by itself would trust neither."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        words = "holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"ferry.toml: [engine] ca_file: {ca_file}: {words}", "name the authority's certificate"
        ) from error
