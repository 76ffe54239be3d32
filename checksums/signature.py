"""SSH signatures over SHA256SUMS, of a bundle or a backup: made and matched by the host's own ssh-keygen.

Whom to believe is quorum.py's. ssh-keygen reads the first signature block of a file, ignores what follows and forgives
some white space; a signature must be in canonical form, so that there is one way to write it. Format: OpenSSH,
PROTOCOL.sshsig.
"""

import base64
import binascii
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from checksums import process
from checksums.errors import IntegrityError, UsageError, naming
from checksums.signers import NAMESPACE, PRINCIPAL, fingerprint, strings

PREAMBLE = b"SSHSIG" + struct.pack(">I", 1)
BEGIN, END = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
COLUMNS = 70
MAX_SIGNATURE_BYTES = 16 * 1024


@dataclass(frozen=True)
class Signature:
    """An SSHSIG that is well formed; nothing is said of what it signs. `kind` is the key's type."""

    public_key: bytes
    kind: str
    fingerprint: str


def parse(armoured: bytes, name: str = "the signature", namespace: str = NAMESPACE) -> Signature:
    """Read an armoured SSHSIG.

    Raises:
        IntegrityError: it is no SSHSIG, is for another namespace, or is not written in the canonical way.
    """
    try:
        text = armoured.decode("ascii")
        blob = base64.b64decode("".join(text.removeprefix(BEGIN).removesuffix(END).split("\n")), validate=True)
        if len(armoured) > MAX_SIGNATURE_BYTES or armour(blob) != armoured or not blob.startswith(PREAMBLE):
            raise ValueError
        key, signed_for, reserved, _hash, _signature = strings(blob[len(PREAMBLE) :])
        kind = _kind(key)
    except (ValueError, binascii.Error, struct.error) as error:
        raise IntegrityError(f"{name}: not an SSH signature in canonical form", "copy the bundle again") from error
    if signed_for != namespace.encode() or reserved:
        what = namespace.removeprefix("ferry-")
        raise IntegrityError(f"{name}: signed for something else than a {what}", f"sign with: -n {namespace}")
    return Signature(key, kind, fingerprint(key))


def _kind(key: bytes) -> str:
    """Return the first string of a key's wire format, its type; what follows differs with it."""
    (size,) = struct.unpack_from(">I", key)
    return key[4 : 4 + size].decode("ascii")


def armour(blob: bytes) -> bytes:
    """Return the one text that stands for a signature's bytes."""
    body = base64.b64encode(blob).decode()
    lines = [body[at : at + COLUMNS] + "\n" for at in range(0, len(body), COLUMNS)]
    return (BEGIN + "".join(lines) + END).encode()


def sign(data: bytes, key: Path, namespace: str = NAMESPACE) -> bytes:
    """Sign with a private key file, or a public one whose private half an ssh-agent or a security key holds.

    Raises:
        UsageError: there is no such key, it is a certificate, or ssh-keygen cannot sign with it.
    """
    demand_file(key)
    done = process.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace], input_bytes=data, check=False)
    if done.returncode != 0:
        raise UsageError(f"{key}: cannot sign: {done.stderr.decode(errors='replace').strip()}", "check the key")
    if "-cert-" in parse(done.stdout, str(key), namespace).kind:
        raise UsageError(f"{key}: is a certificate, and servers count keys", "name the key itself")
    return done.stdout


def sign_with_all(data: bytes, keys: Sequence[Path]) -> list[bytes]:
    """Sign with each key, and refuse one that comes twice under two names.

    Raises:
        UsageError: a key cannot sign, or is the same as another one.
    """
    made = [sign(data, key) for key in keys]
    seen: dict[str, Path] = {}
    for key, armoured in zip(keys, made, strict=True):
        found = parse(armoured, str(key)).fingerprint
        if found in seen:
            raise twice(key, seen[found])
        seen[found] = key
    return made


def demand_file(key: Path) -> None:
    """Raise UsageError where there is no such file, private or public."""
    if not key.is_file():
        raise UsageError(f"{key}: no such signing key", f"make one with: ssh-keygen -t ed25519 -f {key}")


def twice(key: Path, other: Path) -> UsageError:
    """Return the error for one key that is named twice."""
    return UsageError(f"{key}: the same key as {other}; a key counts once", "name each key once")


def allowed_signers_line(key: Path) -> str:
    """Return the line of an allowed_signers file that trusts `key` for bundles and for nothing else."""
    # Out of a signature: the private half may be in an agent, and `key` the public one.
    return line_of(parse(sign(b"", key), str(key)))


def line_of(made: Signature, valid_before: str = "", namespace: str = NAMESPACE) -> str:
    """Return the line of an allowed_signers file that trusts the key of a signature."""
    until = f',valid-before="{valid_before}"' if valid_before else ""
    text = base64.b64encode(made.public_key).decode()
    return f'{PRINCIPAL} namespaces="{namespace}"{until} {made.kind} {text}\n'


def match(data: bytes, armoured: bytes, name: str = "the signature", namespace: str = NAMESPACE) -> Signature:
    """Return a signature that is over `data`, whoever made it; its fingerprint is then as ssh-keygen says it.

    Raises:
        IntegrityError: it is not canonical, or not over these bytes.
    """
    signature = parse(armoured, name, namespace)
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        file = Path(folder, "signature")
        with naming(file):
            file.write_bytes(armoured)
        argv = ["ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", str(file)]
        done = process.run(argv, input_bytes=data, check=False)
    if done.returncode != 0:
        raise IntegrityError(f"{name} does not match: the list of digests was changed", "copy the bundle again")
    return Signature(signature.public_key, signature.kind, done.text.rpartition(" ")[2])
