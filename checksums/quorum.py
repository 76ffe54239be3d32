"""Do enough trusted keys sign this? Signatures and a list come in; who counts, and who does not and why, goes out.

The host's own ssh-keygen decides each signature. A key counts once, however often and in whatever form it signs. A
signature that is damaged refuses everything; a good one by a key that nobody here trusts does no harm and is told.
install.sh decides the same in the same order and words.
"""

import base64
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from checksums import process, signature, signers
from checksums.errors import FerryError, HostError, IntegrityError, UsageError, naming
from checksums.signature import Signature
from checksums.signers import NAMESPACE, PRINCIPAL

GET_LIST = "get the signer's allowed_signers another way than with the bundle, and check it"
# The line of a canonical manifest; install.sh holds the same expression.
CREATED = re.compile(
    rb'^ "created": "(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)Z",$', re.M
)
# What ssh-keygen says of a line of the list. It skips such a line and goes on with the next.
SAID = re.compile(r"^list:(\d+): (.*)$", re.M)
NEWER = re.compile(r'bad options: (?:unknown key option|invalid "valid-)')
BROKEN = re.compile(r"invalid|missing|bad ")


@dataclass(frozen=True)
class Verdict:
    """The fingerprints of the distinct trusted keys that signed, and what the operator has to be told."""

    signers: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """Whose signatures count, how many distinct keys it takes, and when the bundle says it was made (14 digits).

    `namespace` is what they must have signed for.
    """

    allowed_signers: Path
    threshold: int = 1
    created: str = ""
    namespace: str = NAMESPACE


def now() -> str:
    """Return this host's time as 14 digits of UTC."""
    return time.strftime("%Y%m%d%H%M%S", time.gmtime())


def created_in(manifest: bytes) -> str:
    """Return when a bundle says it was made as 14 digits of UTC, "" where it does not; proves nothing."""
    found = CREATED.search(manifest)
    return b"".join(found.groups()).decode() if found else ""


def read_list(path: Path, hint: str) -> bytes:
    """Return the content of a list of keys.

    Raises:
        UsageError: there is no such file, it is a pipe or a device, or too large.
    """
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: a directory, a pipe or a device, and no file", hint)
    try:
        with path.open("rb") as file:
            data = file.read(signers.MAX_LIST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint) from error
    signers.demand_size(data, str(path))
    return data


def judge(data: bytes, armoured: Mapping[str, bytes], rule: Rule) -> Verdict:
    """Count the distinct trusted keys whose signatures, by their names, are over `data`.

    Raises:
        IntegrityError: a signature is damaged or over other bytes, or too few trusted keys signed.
        UsageError: the list cannot be read, or is none.
        HostError: this host's OpenSSH cannot read the list.
    """
    made = {name: signature.match(data, text, name, rule.namespace) for name, text in armoured.items()}
    text = signers.plain(read_list(rule.allowed_signers, "give the signer's list: --allowed-signers FILE"))
    signers.demand_lines(text, str(rule.allowed_signers))
    counted: list[str] = []
    reasons: list[str] = []
    faults: list[FerryError] = []
    for name, one in made.items():
        said = _asked(data, armoured[name], text, rule)
        if said is None:
            counted += [one.fingerprint] if one.fingerprint not in counted else []
            continue
        reasons.append(_reason(name, one, said, rule))
        faults += _faults(one, said, text, rule)
    if len(counted) < rule.threshold:
        raise faults[0] if faults else _too_few(len(counted), reasons, rule)
    notes = [f"note: {reason}; it does not count" for reason in reasons]
    return Verdict(tuple(counted), (*_clock(rule), *notes))


def _asked(data: bytes, armoured: bytes, text: bytes, rule: Rule) -> str | None:
    """Ask ssh-keygen whether the list allows a signature; return None when it does, else what it said of the list."""
    with tempfile.TemporaryDirectory(prefix="ferry-") as folder:
        with naming(Path(folder)):
            Path(folder, "list").write_bytes(text)
            Path(folder, "signature").write_bytes(armoured)
        argv = ["ssh-keygen", "-Y", "verify", "-f", "list", "-I", PRINCIPAL, "-n", rule.namespace, "-s", "signature"]
        at = ["-O", f"verify-time={rule.created}"] if rule.created > now() else []
        environment = {**os.environ, "TZ": "UTC0", "LC_ALL": "C"}
        done = process.run([*argv, *at], input_bytes=data, check=False, cwd=Path(folder), env=environment)
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").replace("\r", "")


def _reason(name: str, one: Signature, said: str, rule: Rule) -> str:
    why = "".join(f": line {line}: {text}" for line, text in SAID.findall(said) if text.startswith("key "))
    return f"{name}: signed by a key that {rule.allowed_signers} does not allow{why} ({one.fingerprint})"


def _faults(one: Signature, said: str, text: bytes, rule: Rule) -> list[FerryError]:
    """Return what is wrong with this host or with the list, in the order of install.sh."""
    lines, name = text.split(b"\n"), rule.allowed_signers
    found: list[FerryError] = []
    for number, complaint in SAID.findall(said):
        if NEWER.match(complaint) and base64.b64encode(one.public_key) in lines[int(number) - 1]:
            what = f"{name}:{number}: this server's OpenSSH cannot read the dates of this key ({complaint})"
            hint = "valid-after and valid-before need OpenSSH 8.7, with a Z 9.1: take them out of the line, or upgrade"
            found.append(HostError(what, hint))
    for number, complaint in SAID.findall(said):
        if BROKEN.match(complaint) and not NEWER.match(complaint):
            found.append(UsageError(f"{name}:{number}: {complaint}", signers.FORM))
    return found


def _too_few(count: int, reasons: list[str], rule: Rule) -> IntegrityError:
    if rule.threshold == 1:
        return IntegrityError("\n".join(reasons), GET_LIST)
    wanted = f"signed by {count} of the {rule.threshold} trusted keys that are asked for"
    return IntegrityError("\n".join([wanted, *reasons]), "get a bundle that more of the trusted keys signed")


def _clock(rule: Rule) -> list[str]:
    if rule.created <= now():
        return []
    return [f"warning: this clock is behind: the bundle was made at {rule.created} UTC; keys are judged by that time"]
