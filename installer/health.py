"""Does the installed release answer? An address comes in; this waits until /readyz says yes, or says why not."""

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from checksums.errors import HealthError
from installer.progress import Progress

PAUSE_S = 0.1
# A slow disk reads weights at 20 MB/s; importing torch and a first token take their time on top.
BASE_S, BYTES_PER_S = 180, 20_000_000
# No proxy: what is asked is on this machine.
_NO_PROXY = urllib.request.ProxyHandler({})


def deadline_s(model_bytes: int) -> float:
    """Return how long a release with weights of this size may take to become ready."""
    return BASE_S + model_bytes / BYTES_PER_S


def get(url: str, timeout_s: float = 5, certificate: str = "") -> tuple[int, str]:
    """Ask and return status and body; status 0 and the reason when nothing answers.

    Over TLS an answer counts only from who has the certificate in this file, or one that it signed.
    """
    try:
        with _opener(certificate).open(url, timeout=timeout_s) as answer:
            return answer.status, answer.read(4096).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(4096).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(getattr(error, "reason", error))


def _opener(certificate: str) -> urllib.request.OpenerDirector:
    if not certificate:
        return urllib.request.build_opener(_NO_PROXY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Asked is 127.0.0.1, which the certificate need not name: it is known by itself.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return urllib.request.build_opener(_NO_PROXY, urllib.request.HTTPSHandler(context=context))


def is_ready(url: str, certificate: str = "") -> bool:
    """Say whether the service can answer now."""
    return get(f"{url}/readyz", certificate=certificate)[0] == 200


def wait(
    url: str,
    timeout_s: float,
    has_failed: Callable[[], bool],
    progress: Progress,
    path: str = "/readyz",
    certificate: str = "",
) -> None:
    """Wait until the service answers 200 at `path`.

    Raises:
        HealthError: `has_failed` says so, or the time is over; the message carries the last reason.
    """
    what = "the model can answer" if path == "/readyz" else "the web server answers"
    progress.step(f"waiting until {what} at {url} (at most {timeout_s:.0f} s)")
    end = time.monotonic() + timeout_s
    while True:
        status, body = get(url + path, certificate=certificate)
        if status == 200:
            return
        if has_failed():
            raise HealthError(f"a process of the service ended before it was ready (last answer: {body.strip()})")
        if time.monotonic() > end:
            raise HealthError(f"not ready after {timeout_s:.0f} s: {body.strip() or status}")
        time.sleep(PAUSE_S)
