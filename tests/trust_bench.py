"""Ask both verifiers, install.sh and Python, the same question about signatures, and expect the same answer.

In: which keys sign, in which form, and the text of a list. Out: exit status and message of each. `old_ssh_keygen` makes
a stand-in for an older one, in front of the real one.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import shell_bench
import small_bundle
from small_bundle import Members, Recipe

from checksums import signature, signers, sums
from checksums.errors import FerryError
from checksums.layout import MANIFEST, SUMS, signature_name
from installer.verify import Trust, open_bundle

# ssh-keygen says when it looked, which is not the same second in both.
NOW = re.compile(r"verify time \S+ ")
KINDS = {"a": "ed25519", "b": "ed25519", "c": "ed25519", "e": "ecdsa", "r": "rsa"}


@dataclass(frozen=True)
class Answer:
    """What a verifier said: 0 or the exit status of its error, the message of the error, and its notes."""

    status: int
    message: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ring:
    """A folder with keys a, b, c (Ed25519), e (ECDSA), r (RSA), and certificates of a by c."""

    folder: Path

    def key(self, name: str) -> Path:
        return self.folder / name

    def public(self, name: str) -> str:
        """Return a key as lists write it: its type and its text."""
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def fingerprint(self, name: str) -> str:
        return signers.fingerprint(base64.b64decode(self.public(name).split()[1]))

    def text(self, template: str) -> str:
        """Return a list with {a}, {b}, … replaced by keys."""
        return template.format(**{name: self.public(name) for name in KINDS})

    def sign(self, data: bytes, word: str) -> bytes:
        """Sign with the key of a name; `cert-a` is a's certificate, `padded-r` r's key in another writing."""
        how, _, name = word.rpartition("-")
        if how == "cert":
            return ssh_sign(self.key("certified"), data)
        armoured = ssh_sign(self.key(name), data)
        return FORMS[how](armoured) if how else armoured


def make_ring(folder: Path) -> Ring:
    for name, kind in KINDS.items():
        keygen("-t", kind, "-N", "", "-C", f"key {name}", "-f", str(folder / name))
    shutil.copy(folder / "a", folder / "certified")
    shutil.copy(folder / "a.pub", folder / "certified.pub")
    keygen("-s", str(folder / "c"), "-I", "x", "-n", "ferry", str(folder / "certified.pub"))
    (folder / "certified.pub").write_bytes((folder / "certified-cert.pub").read_bytes())
    return Ring(folder)


def keygen(*words: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True)


def ssh_sign(key: Path, data: bytes, namespace: str = "ferry-bundle") -> bytes:
    name = f"{key}.pub" if key.name == "certified" else str(key)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", name, "-n", namespace]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def rebuilt(change: Callable[[list[bytes]], None], version: int = 1) -> Callable[[bytes], bytes]:
    """Take an armoured signature apart into its five strings, change them, and put it together again."""

    def form(armoured: bytes) -> bytes:
        blob = base64.b64decode(b"".join(armoured.split(b"\n")[1:-2]))
        parts = signers.strings(blob[10:])
        change(parts)
        return signature.armour(b"SSHSIG" + struct.pack(">I", version) + b"".join(map(string, parts)))

    return form


def pad(parts: list[bytes]) -> None:
    """Write an RSA key's modulus with one zero more: other bytes, the same key."""
    kind, exponent, modulus = signers.strings(parts[0])
    parts[0] = string(kind) + string(exponent) + string(b"\0" + modulus)


def set_part(number: int, data: bytes) -> Callable[[list[bytes]], None]:
    return lambda parts: parts.__setitem__(number, data)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "padded": rebuilt(pad),
    "reserved": rebuilt(set_part(2, b"x")),
    "version0": rebuilt(lambda parts: None, 0),
    "version2": rebuilt(lambda parts: None, 2),
    "elsewhere": rebuilt(set_part(1, b"git")),
    # ssh-keygen takes a zero byte behind a name for nothing.
    "nearby": rebuilt(set_part(1, b"ferry-bundle\0")),
    "md5": rebuilt(set_part(3, b"md5")),
    "nokey": rebuilt(set_part(0, b"")),
    "keytail": rebuilt(lambda parts: parts.__setitem__(0, parts[0] + b"x")),
    "otherkey": rebuilt(set_part(0, string(b"ssh-ed25519") + string(bytes(32)))),
    "unknownkey": rebuilt(set_part(0, string(b"ssh-kyber") + string(bytes(32)))),
    "sigtail": rebuilt(lambda parts: parts.__setitem__(4, parts[4] + b"x")),
    "nosig": rebuilt(set_part(4, b"")),
    "sixth": rebuilt(lambda parts: parts.append(b"")),
    "four": rebuilt(lambda parts: parts.__delitem__(4)),
    "crlf": lambda text: text.replace(b"\n", b"\r\n"),
    "twice": lambda text: text + text,
    "tail": lambda text: text + b"\n",
    "blank": lambda text: b" " + text,
    "pem": lambda text: text.replace(b"SSH SIGNATURE", b"PGP SIGNATURE"),
    "empty": lambda text: b"",
    "binary": lambda text: bytes(range(256)),
    "long": lambda text: text.replace(b"\n", b"", 3),
    "huge": lambda text: signature.armour(bytes(12_000)),
}


@dataclass(frozen=True)
class Bench:
    """A folder for bundles and lists, and the keys."""

    folder: Path
    ring: Ring

    def bundle(self, words: Sequence[str], created: str = "2025-01-01T00:00:00Z") -> Path:
        """Make a bundle that is signed so; its install.pyz says how it was called."""
        recipe = Recipe(installer=shell_bench.ECHO, is_installable=False)
        listed = dict(small_bundle.members(recipe))
        del listed[SUMS]
        listed[MANIFEST] = listed[MANIFEST].replace(b"2025-01-01T00:00:00Z", created.encode())
        text = sums.render({path: small_bundle.digest(data) for path, data in listed.items()})
        made = [(signature_name(number), self.ring.sign(text, word)) for number, word in enumerate(words, 1)]
        content: Members = [(SUMS, text), *made, *listed.items()]
        return small_bundle.pack(self.folder / "bundle.tar", recipe.name, content)

    def list(self, text: str | bytes) -> Path:
        path = self.folder / "list"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def shell(self, bundle: Path, trusted: Path, threshold: int = 1) -> Answer:
        """Ask install.sh."""
        bench = shell_bench.Bench(self.folder, self.folder / "unused")
        done = bench.run(bundle, "--allowed-signers", trusted, "--threshold", str(threshold))
        assert list((self.folder / "tmp").iterdir()) == [] and (done.returncode == 0) == bool(done.stdout)
        lines = done.stderr.split("\nhint: ")[0].splitlines()
        first = next((at for at, line in enumerate(lines) if line.startswith("error: ")), len(lines))
        return Answer(done.returncode, "\n".join(lines[first:]).removeprefix("error: "), tuple(lines[:first]))

    def python(self, bundle: Path, trusted: Path, threshold: int = 1) -> Answer:
        """Ask the code that install.pyz and `python -m bundle verify` run."""
        with bundle.open("rb") as stream:
            try:
                verified = open_bundle(stream, Trust(trusted, threshold=threshold))
            except FerryError as error:
                assert error.hint
                return Answer(error.exit_code, error.message, ())
        assert len(verified.signers) >= threshold
        return Answer(0, "", verified.notes)

    def both(self, words: Sequence[str], text: str | bytes, threshold: int = 1, **more: str) -> Answer:
        """Ask both, and expect one answer: the status, and in what is said about keys the words too."""
        bundle, trusted = self.bundle(words, **more), self.list(text)
        shell, python = self.shell(bundle, trusted, threshold), self.python(bundle, trusted, threshold)
        if "signature in canonical form" in shell.message or "does not match" in shell.message:
            python, shell = replace(python, message=""), replace(shell, message="")
        warnings = tuple(note for note in shell.notes if note.startswith("warning"))
        if python.status:
            shell = replace(shell, notes=())
        shell, python = (replace(one, message=NOW.sub("at ", one.message)) for one in (shell, python))
        assert shell == python
        return replace(shell, notes=shell.notes or warnings)


def old_ssh_keygen(folder: Path, knows: str) -> dict[str, str]:
    """Make a stand-in for an older ssh-keygen and return the environment in which it comes first.

    8.4 (seen in Debian 11): `-O` is ignored with `-Y verify`; a line with valid-after or valid-before is skipped, with
    `list:1: bad options: unknown key option` on standard error. 8.7 knows the dates, and no Z behind them (from the
    notes of release 9.1).
    """
    real = shutil.which("ssh-keygen")
    pattern, what = {
        "8.4": ('valid-(after|before)="', "unknown key option"),
        "8.7": ('valid-(after|before)="[0-9]*Z"', 'invalid "valid-before" time'),
    }[knows]
    program = folder / "old" / "ssh-keygen"
    program.parent.mkdir()
    program.write_text(f"""#!/bin/sh
case "$1 $2" in '-Y verify') ;; *) exec {real} "$@" ;; esac
shift 2
while [ $# -gt 0 ]; do
    case $1 in
    -f) list=$2 ;;
    -O) [ {knows} = 8.4 ] || time=$2 ;;
    -I) who=$2 ;;
    -n) what=$2 ;;
    -s) signature=$2 ;;
    esac
    shift 2
done
kept=$(mktemp)
trap 'rm -f "$kept"' EXIT
sed -E '/{pattern}/s/.*/# not understood/' "$list" >"$kept"
for number in $(sed -nE '/{pattern}/=' "$list"); do
    printf '%s\\r\\n' "$list:$number: "'bad options: {what}' >&2
done
{real} -Y verify -f "$kept" -I "$who" -n "$what" -s "$signature" ${{time:+-O "$time"}} 2>"$kept.said"
status=$?
sed "s|^$kept:|$list:|" "$kept.said" >&2
rm -f "$kept.said"
exit "$status"
""")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}
