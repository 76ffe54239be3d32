"""Make certificates that are their own authority, with openssl, for tests of TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path

CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def make(
    folder: Path, name: str = "tls", *, days: int = 90, address: str = "127.0.0.1", made_on: str = ""
) -> tuple[Path, Path]:
    """Write NAME.crt and NAME.key, as if on another day where one is given, and return their paths."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}"]
    out = ["-keyout", str(key), "-out", str(certificate)]
    then = ["faketime", made_on] if made_on else []
    command = [*then, "openssl", "req", "-x509", *CURVE, "-days", str(days), *names, *out]
    subprocess.run(command, capture_output=True, check=True)
    return certificate, key


def with_passphrase(key: Path) -> Path:
    """Write a copy of a key that a passphrase locks."""
    locked = key.with_suffix(".locked")
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(command, capture_output=True, check=True)
    return locked
