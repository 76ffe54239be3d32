"""Where the engine is and how it is spoken to: settings come in; an address, a way and the headers go out.

The engine is this server's own behind its unix socket, or the server that `[engine] url` names. What is asked of it is
left to service.web.engine_client.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from service.config import ConfigError, Engine
from service.web.engine_connection import Way

MAX_KEY_BYTES = 8192


@dataclass(frozen=True)
class Address:
    """One engine. `root` is where /health is, `base` where /models and the rest are; `secret` is for Authorization."""

    base: str
    root: str
    is_local: bool
    secret: str = ""
    tls: ssl.SSLContext | None = None
    is_told_callers: bool = True

    @classmethod
    def of(cls, settings: Engine) -> Address:
        """Read what the settings name. Raises: ConfigError for a key or certificates that cannot be used."""
        if not settings.url:
            return cls("http://engine/v1", "http://engine", True)
        base = settings.url.rstrip("/")
        tls = _trusted(settings.ca_file) if base.startswith("https://") else None
        return cls(base, _root(base), False, _secret(base, _key(settings.api_key_file)), tls, settings.forward_user)

    def headers(self, user: str, conversation: str, per_user: int | None = None) -> dict[str, str]:
        """Return what is sent with a question: the key, and where that is the engine's business who asks.

        `per_user` is how many such questions a user may have at once, where that is not left to the engine.
        """
        headers = self.authorization()
        if self.is_told_callers:
            headers["X-Ferry-User"] = user
            if conversation:
                headers["X-Ferry-Conversation"] = conversation
            if per_user:
                headers["X-Ferry-Per-User"] = str(per_user)
        return headers

    def authorization(self) -> dict[str, str]:
        return {"Authorization": self.secret} if self.secret else {}

    def way(self, socket_path: Path) -> Way:
        return Way(unix_socket=socket_path) if self.is_local else Way(tls=self.tls)


def _root(base: str) -> str:
    parts = urlsplit(base)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix("/v1"), "", ""))


def _secret(base: str, key: str) -> str:
    """Return what the Authorization header holds: what stands before an @ in the address goes before the key."""
    parts = urlsplit(base)
    if parts.username is None:
        return f"Bearer {key}" if key else ""
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


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
    """Trust the given authority alone, or what this system trusts."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        words = "holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(
            f"ferry.toml: [engine] ca_file: {ca_file}: {words}", "name the authority's certificate"
        ) from error
