"""Passwords: hashing, checking and making them. Passwords go in, argon2 hashes come out."""

from __future__ import annotations

import secrets

import argon2

# OWASP's second argon2id choice: 19 MiB and 2 passes take about 20 ms, which is how long a login may hold up the other
# streams of a gevent worker.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_NOBODY = _HASHER.hash(secrets.token_urlsafe())
_READABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # without i, l, o, 0 and 1: passwords are read out over the telephone


def hash_password(password: str) -> str:
    return _HASHER.hash(password)


def is_password(password: str, password_hash: str | None) -> bool:
    """Check a password. With no hash (no such user) it takes as long and is False."""
    try:
        _HASHER.verify(password_hash or _NOBODY, password)
    except argon2.exceptions.VerifyMismatchError:
        return False
    return password_hash is not None


def generate_password() -> str:
    """Return a new password of 79 random bits, in groups that can be typed."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(4)) for _ in range(4))
