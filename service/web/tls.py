"""TLS by the web tier itself: two files in PEM come in, a context for the server goes out, or what is wrong with them.

Also the other way round: a context for this machine's own questions (the self-test), which trusts exactly the
certificate that is installed and nothing else, whatever names it is for. `plain_passwords` says whether passwords would
cross the network in clear; the start, the administration page and `ferry doctor` show it.
"""

from __future__ import annotations

import ipaddress
import ssl
import time
from pathlib import Path

from service.config import ConfigError, Web

SOON_S = 30 * 86400
CERTIFICATE, KEY = "[web] tls_certificate", "[web] tls_key"
HINT = "put certificate and key where [web] of ferry.toml says, or take both lines out; then start Ferry again"


def server_context(web: Web) -> ssl.SSLContext | None:
    """Return the context to serve with, None without TLS. Raises: ConfigError for files that cannot be used."""
    if not web.tls_certificate:
        return None
    for setting, name in ((CERTIFICATE, web.tls_certificate), (KEY, web.tls_key)):
        _read(setting, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    own_context(web)
    try:
        context.load_cert_chain(web.tls_certificate, web.tls_key, password=_no_password)
    except ssl.SSLError as error:
        raise _cannot(KEY, web.tls_key, _words_of(error)) from error
    expires_at(web, context)
    return context


def own_context(web: Web) -> ssl.SSLContext:
    """Return the context of this machine's own questions. Raises: ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Asked is 127.0.0.1, which the certificate need not name: it is known by itself.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(web.tls_certificate)
    except ssl.SSLError as error:
        raise _cannot(CERTIFICATE, web.tls_certificate, "holds no certificate in PEM") from error
    except OSError as error:
        raise _cannot(CERTIFICATE, web.tls_certificate, str(error.strerror)) from error
    return context


def expires_at(web: Web, context: ssl.SSLContext) -> float:
    """Return when the certificate ends, by shaking hands with ourselves. Raises: ConfigError where that fails."""
    try:
        return ssl.cert_time_to_seconds(str(_shaken_hands(context, own_context(web))["notAfter"]))
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or _words_of(error)
        raise _cannot(CERTIFICATE, web.tls_certificate, reason) from error


def warning(web: Web) -> str:
    """Return what an administrator should know of passwords in clear or a certificate that ends soon, "" of neither."""
    if plain_passwords(web):
        return "passwords cross the network in clear: set [web] tls_certificate, or put nginx with TLS in front"
    context = server_context(web)
    days = (expires_at(web, context) - time.time()) / 86400 if context else SOON_S
    return f"the certificate of [web] tls_certificate ends in {days:.0f} days" if days * 86400 < SOON_S else ""


def plain_passwords(web: Web) -> bool:
    """Say whether passwords, keys and conversations would cross the network in clear, as far as the settings tell."""
    return not (web.tls_certificate or web.trusted_proxies or _is_loopback(web.host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shaken_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """Let a client and a server meet in memory, and return the certificate that the client has verified."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(to_server, to_client, server_side=True), client.wrap_bio(to_client, to_server)]
    for end in (ends[1], ends[0], ends[1], ends[0], ends[1]):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return dict(ends[1].getpeercert() or {})


def _read(setting: str, name: str) -> None:
    """Make sure that a file can be read. Raises: ConfigError."""
    try:
        Path(name).read_bytes()
    except OSError as error:
        raise _cannot(setting, name, f"{error.strerror} (the user ferry has to be able to read it)") from error


def _no_password() -> str:
    raise ssl.SSLError("the key is locked by a passphrase, which nobody can type at a start")


def _words_of(error: ssl.SSLError) -> str:
    reason: str = getattr(error, "reason", None) or ""  # one that Python itself raised has none
    if reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH"):
        return "is not the key of the certificate"
    if "PEM lib" in str(error):
        return "holds no private key in PEM"
    return reason.replace("_", " ").lower() or str(error.args[-1])


def _cannot(setting: str, name: str, problem: str) -> ConfigError:
    return ConfigError(f"{setting}: {name}: {problem}", HINT)
