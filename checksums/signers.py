"""allowed_signers: the text that says whose signatures count comes in, a `Signer` for each key goes out. Pure.

ssh-keygen decides which signature holds; here a list is read to be shown, changed and refused before it is relied upon.
Format: ssh-keygen(1), "ALLOWED SIGNERS". Dates are read as UTC, with or without a Z, so that every server agrees.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from checksums.errors import UsageError

NAMESPACE = "ferry-bundle"
PRINCIPAL = "ferry"
MAX_LIST_BYTES = 1 << 20
# install.sh holds the same expression: a line is refused by both or by none.
OPTION = rb'(?:namespaces="[^"]*"|valid-(?:after|before)="[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?Z?")'
KIND = rb"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
LINE = re.compile(
    rb'[ \t]*(?P<principals>"[^"]*"|[!$-~][!#-~]*)[ \t]+(?:(?P<options>%(o)s(?:,%(o)s)*)[ \t]+)?'
    rb"(?P<kind>%(k)s)[ \t]+(?P<key>[A-Za-z0-9+/]{40,}={0,2})(?:[ \t](?P<comment>.*))?" % {b"o": OPTION, b"k": KIND}
)
SILENT = re.compile(rb"[ \t]*(?:#.*)?")
FORM = 'write each as: ferry namespaces="ferry-bundle" TYPE KEY COMMENT (valid-after and valid-before may stand too)'
DATE = re.compile(r"\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?)?Z?")
INTEGERS = {"ssh-rsa": 2}


@dataclass(frozen=True)
class Signer:
    """One line: `key` is the wire format, the dates are 14 digits of UTC or "" where there is none."""

    line: int
    principals: str
    namespaces: str
    kind: str
    key: bytes
    comment: str
    valid_after: str = ""
    valid_before: str = ""

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as ssh-keygen prints it."""
        return fingerprint(self.key)

    def why_not(self, at: str) -> str:
        """Say why a signature by this key does not count at a time (14 digits, UTC); "" when it does."""
        if not matches(self.principals, PRINCIPAL):
            return f"not for {PRINCIPAL}"
        if not matches(self.namespaces, NAMESPACE):
            return f"not for {NAMESPACE}"
        if self.valid_after and at < self.valid_after:
            return "not yet valid"
        return "expired" if self.valid_before and at > self.valid_before else ""


def fingerprint(public_key: bytes) -> str:
    """Return a public key's fingerprint as ssh-keygen prints it, from the key's wire format."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")


def plain(data: bytes) -> bytes:
    """Return a list as ssh-keygen takes it: a file with Windows line ends is as good."""
    return data.replace(b"\r", b"").replace(b"\0", b"")


def demand_size(data: bytes, name: str) -> None:
    """Raise UsageError for more bytes than a list of keys has."""
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(f"{name}: too large for a list of keys", "check that the right file was given")


def demand_lines(data: bytes, name: str) -> None:
    """Refuse a list in which a line is neither empty, nor a comment, nor a key.

    Raises:
        UsageError: the message names the file and the line.
    """
    for number, line in enumerate(data.split(b"\n"), 1):
        if not SILENT.fullmatch(line) and not LINE.fullmatch(line):
            raise UsageError(f"{name}:{number}: not a key that can count", FORM)


def parse(data: bytes, name: str) -> list[Signer]:
    """Read a list.

    Raises:
        UsageError: a line cannot be read, or holds a private key; the message names the file and the line.
    """
    if b"PRIVATE KEY" in data:
        raise UsageError(f"{name}: holds a private key", "a list holds public keys alone; keep the private one secret")
    demand_size(data, name)
    text = plain(data)
    demand_lines(text, name)
    found = ((number, LINE.fullmatch(line)) for number, line in enumerate(text.split(b"\n"), 1))
    return [_signer(number, match, f"{name}:{number}") for number, match in found if match]


def counting(signers: Iterable[Signer], at: str) -> set[str]:
    """Return the fingerprints of the keys that count at a time (14 digits, UTC)."""
    return {signer.fingerprint for signer in signers if not signer.why_not(at)}


def matches(patterns: str, word: str) -> bool:
    """Say whether a list of patterns with commas takes a word; * ? and ! as in ssh_config(5), "PATTERNS"."""
    found = False
    for pattern in patterns.split(","):
        # Several stars in a row say what one says, and would be tried in ways without number.
        letters = re.sub(r"\*+", "*", pattern.removeprefix("!"))
        wanted = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in letters)
        if re.fullmatch(wanted, word):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _signer(number: int, match: re.Match[bytes], place: str) -> Signer:
    kind = match["kind"].decode()
    options = re.findall(rb'([a-z-]+)="([^"]*)"', match["options"] or b"")
    values = {name.decode(): value.decode(errors="replace") for name, value in options}
    if len(values) != len(options):
        raise UsageError(f"{place}: an option stands twice", FORM)
    after, before = (_date(values.get(name, ""), place) for name in ("valid-after", "valid-before"))
    if after and before and before <= after:
        raise UsageError(f"{place}: valid-before is not after valid-after", FORM)
    comment = (match["comment"] or b"").decode(errors="replace").strip()
    principals = match["principals"].decode(errors="replace").strip('"')
    shown = "".join(letter if letter.isprintable() else "?" for letter in comment)
    return Signer(
        number, principals, values.get("namespaces", "*"), kind, _key(match["key"], kind, place), shown, after, before
    )


def _date(text: str, place: str) -> str:
    if text and not DATE.fullmatch(text):
        raise UsageError(f"{place}: {text} is no date", "write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS")
    return text.removesuffix("Z").ljust(14, "0") if text else ""


def _key(text: bytes, kind: str, place: str) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True)
        parts = strings(blob)
    except (ValueError, struct.error) as error:
        raise UsageError(f"{place}: the key is damaged", "copy the line again") from error
    # A leading zero too many would be a second way to write the same key, and count as a second one.
    integers = parts[1 : 1 + INTEGERS.get(kind, 0)]
    padded = any(part[:1] == b"\0" and part[1:2] < b"\x80" for part in integers)
    if parts[0] != kind.encode() or len(parts) < 2 or padded or base64.b64encode(blob) != text:
        raise UsageError(f"{place}: the key is damaged", "copy the line again")
    return blob


def strings(blob: bytes) -> list[bytes]:
    """Return the strings that a blob is made of (RFC 4251, section 5); struct.error or ValueError for anything else."""
    found, at = [], 0
    while at < len(blob):
        (size,) = struct.unpack_from(">I", blob, at)
        found.append(blob[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(blob) or not found:
        raise ValueError("cut short")
    return found
