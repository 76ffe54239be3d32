"""SSH signatures over SHA256SUMS, made and checked by the host's own ssh-keygen.

ssh-keygen reads the first signature block of a file, ignores what follows and forgives some white space; a bundle's
signature must be in canonical form, so that there is one way to write it. Format: OpenSSH, PROTOCOL.sshsig.
"""

import base64
import binascii
import hashlib
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from checksums import process
from checksums.errors import IntegrityError, UsageError

NAMESPACE = "ferry-bundle"
PRINCIPAL = "ferry"
MAGIC = b"SSHSIG"
BEGIN, END = "-----BEGIN SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n"
COLUMNS = 70
MAX_SIGNATURE_BYTES = 16 * 1024


@dataclass(frozen=True)
class Signature:
    """An SSHSIG that is well formed; nothing is said of what it signs."""

    public_key: bytes
    fingerprint: str


def fingerprint(public_key: bytes) -> str:
    """Return a public key's fingerprint as ssh-keygen prints it, from the key's wire format."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")


def parse(armoured: bytes, name: str = "the signature") -> Signature:
    """Read an armoured SSHSIG.

    Raises:
        IntegrityError: it is no SSHSIG, is not for bundles, or is not written in the canonical way.
    """
    try:
        text = armoured.decode("ascii")
        blob = base64.b64decode("".join(text.removeprefix(BEGIN).removesuffix(END).split("\n")), validate=True)
        if len(armoured) > MAX_SIGNATURE_BYTES or armour(blob) != armoured:
            raise ValueError
        key, namespace, reserved, _hash, _signature = _strings(blob)
    except (ValueError, binascii.Error, struct.error) as error:
        raise IntegrityError(f"{name}: not an SSH signature in canonical form", "copy the bundle again") from error
    if namespace != NAMESPACE.encode() or reserved:
        raise IntegrityError(f"{name}: signed for something else than a bundle", f"sign with: -n {NAMESPACE}")
    return Signature(key, fingerprint(key))


def armour(blob: bytes) -> bytes:
    """Return the one text that stands for a signature's bytes."""
    body = base64.b64encode(blob).decode()
    lines = [body[at : at + COLUMNS] + "\n" for at in range(0, len(body), COLUMNS)]
    return (BEGIN + "".join(lines) + END).encode()


def _strings(blob: bytes) -> list[bytes]:
    """Return the five strings of the blob; ValueError or struct.error when it is anything else."""
    if blob[:6] != MAGIC or struct.unpack_from(">I", blob, 6) != (1,):
        raise ValueError(blob[:10])
    strings, at = [], 10
    for _ in range(5):
        (size,) = struct.unpack_from(">I", blob, at)
        strings.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(blob):
        raise ValueError("bytes behind the signature")
    return strings


def sign(data: bytes, key: Path) -> bytes:
    """Sign with a private key file, or a public one whose private half an ssh-agent holds.

    Raises:
        UsageError: there is no such key, or ssh-keygen cannot sign with it.
    """
    if not key.is_file():
        raise UsageError(f"{key}: no such signing key", f"make one with: ssh-keygen -t ed25519 -f {key}")
    done = process.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE], input_bytes=data, check=False)
    if done.returncode != 0:
        raise UsageError(f"{key}: cannot sign: {done.stderr.decode(errors='replace').strip()}", "check the key")
    parse(done.stdout, str(key))
    return done.stdout


def allowed_signers_line(key: Path) -> str:
    """Return the line of an allowed_signers file that trusts `key` for bundles and for nothing else."""
    # Out of a signature: the private half may be in an agent, and `key` the public one.
    public_key = parse(sign(b"", key), str(key)).public_key
    (size,) = struct.unpack_from(">I", public_key)
    kind, text = public_key[4 : 4 + size].decode(), base64.b64encode(public_key).decode()
    return f'{PRINCIPAL} namespaces="{NAMESPACE}" {kind} {text}\n'


def verify(data: bytes, armoured: bytes, allowed_signers: Path, name: str = "the signature") -> Signature:
    """Check a signature over `data` against an allowed_signers file and return it.

    Raises:
        IntegrityError: it is not canonical, not over these bytes, or by a key that the file does not allow.
    """
    signature = parse(armoured, name)
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        file = Path(folder, "signature")
        file.write_bytes(armoured)
        common = ["-n", NAMESPACE, "-s", str(file)]
        good = ["ssh-keygen", "-Y", "verify", "-f", str(allowed_signers), "-I", PRINCIPAL, *common]
        if process.run(good, input_bytes=data, check=False).returncode == 0:
            return signature
        matches = process.run(["ssh-keygen", "-Y", "check-novalidate", *common], input_bytes=data, check=False)
    if matches.returncode != 0:
        raise IntegrityError(f"{name} does not match: the list of digests was changed", "copy the bundle again")
    raise IntegrityError(
        f"signed by {signature.fingerprint}, a key that {allowed_signers} does not allow",
        "get the signer's allowed_signers file another way than with the bundle, and check it",
    )
