"""install.sh: how it is called, whom it trusts, and what it hands on."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import small_bundle
import tampering
from shell_bench import ECHO, SCRIPT, Bench, replaced
from small_bundle import Members, Recipe

from checksums import signature
from checksums.layout import SUMS

TOOLS = {
    "base64",
    "cat",
    "cmp",
    "cut",
    "date",
    "dd",
    "dirname",
    "head",
    "id",
    "ls",
    "mktemp",
    "od",
    "rm",
    "sed",
    "sha256sum",
    "ssh-keygen",
    "tail",
}
TOOLS |= {"tee", "tr", "wc"}
SHELLS = [words for words in (["sh"], ["dash"], ["busybox", "sh"], ["bash", "--posix"]) if shutil.which(words[0])]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_bundle.make_key(tmp_path / "key"))


@pytest.fixture
def content(bench: Bench) -> Members:
    return small_bundle.members(bench.recipe)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_good_bundle_is_handed_on_with_every_option(bench: Bench, content: Members, shell: list[str]) -> None:
    options = ["--listen", "127.0.0.1:1", "--accept-license", "--yes", "--dry-run", "--json", "--insecure-unsigned"]
    done = bench.run(bench.pack(content), "--allowed-signers", bench.allowed, *options, shell=shell)
    assert done.returncode == 0, done.stderr
    argv = json.loads(done.stdout)["argv"]
    assert argv[:4] == ["--prefix", str(bench.folder / "prefix"), "install", str(bench.folder / "bundle.tar")]
    assert "--user-mode" in argv and set(options) <= set(argv)
    assert list((bench.folder / "tmp").iterdir()) == []


def test_a_signature_by_a_stranger_is_refused(bench: Bench, tmp_path: Path) -> None:
    stranger = small_bundle.make_key(tmp_path / "stranger")
    bundle = small_bundle.make(tmp_path, Recipe(keys=(stranger,), installer=ECHO, is_installable=False))
    assert f"signed by a key that {bench.allowed} does not allow" in bench.refuse(bundle, "SHA256SUMS.sig")


def test_the_signature_of_a_stranger_beside_a_trusted_one_is_told_and_does_not_count(
    bench: Bench, tmp_path: Path
) -> None:
    stranger = small_bundle.make_key(tmp_path / "stranger")
    recipe = Recipe(keys=(bench.key, stranger), installer=ECHO, is_installable=False)
    bundle = small_bundle.make(tmp_path, recipe)
    done = bench.run(bundle, "--allowed-signers", bench.allowed)
    assert done.returncode == 0 and "note: SHA256SUMS.2.sig: signed by a key" in done.stderr
    asked = ("--allowed-signers", bench.allowed, "--threshold", "2")
    said = bench.refuse(bundle, "signed by 1 of the 2 trusted keys", 3, *asked)
    assert "SHA256SUMS.2.sig: signed by a key" in said


def test_a_signature_for_something_else_is_refused(bench: Bench, content: Members) -> None:
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(bench.key), "-n", "git"]
    other = subprocess.run(sign, input=content[0][1], capture_output=True, check=True).stdout
    bench.refuse(bench.pack(replaced(f"{SUMS}.sig", other)(content)), "signed for something else")


def test_a_list_for_another_principal_trusts_nobody(bench: Bench, content: Members, tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.write_text(bench.allowed.read_text().replace("ferry ", "someone ", 1))
    bench.refuse(bench.pack(content), f"a key that {others} does not allow", 3, "--allowed-signers", others)


def test_the_servers_own_list_decides(bench: Bench, content: Members, tmp_path: Path) -> None:
    stranger = small_bundle.make_key(tmp_path / "stranger")
    own = bench.folder / "prefix" / "etc" / "allowed_signers"
    own.parent.mkdir(parents=True)
    shutil.copy(stranger.with_suffix(".allowed"), own)
    said = bench.refuse(bench.pack(content), f"a key that {own} does not allow")
    assert "decides, not --allowed-signers" in said
    shutil.copy(bench.allowed, own)
    assert json.loads(bench.run(bench.folder / "bundle.tar").stdout)["argv"].count(str(own)) == 1


def test_without_a_list_and_a_terminal_nothing_is_trusted(bench: Bench, content: Members) -> None:
    said = bench.refuse(bench.pack(content), "trusts no key yet", 3, "--yes")
    assert "--allowed-signers FILE" in said


@pytest.mark.parametrize(("typed", "status"), [("yes", 0), ("no", 3), ("y", 3), ("", 3)])
def test_a_key_is_confirmed_at_a_terminal_by_its_fingerprint(
    bench: Bench, content: Members, typed: str, status: int
) -> None:
    ours, theirs = pty.openpty()
    command = [
        "sh",
        str(SCRIPT),
        str(bench.pack(content)),
        "--user-mode",
        "--prefix",
        str(bench.folder / "prefix"),
        "--yes",
    ]
    os.write(ours, typed.encode() + b"\n")
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == status, done.stderr
    key = subprocess.run(["ssh-keygen", "-lf", str(bench.key)], capture_output=True, text=True, check=True).stdout
    assert key.split()[1] in done.stderr
    if status == 0:
        assert json.loads(done.stdout)["allowed"] == signature.allowed_signers_line(bench.key)


def test_an_unsigned_bundle_needs_to_be_asked_for_loudly(bench: Bench) -> None:
    unsigned = bench.pack(small_bundle.members(Recipe(installer=ECHO, is_installable=False)))
    bench.refuse(unsigned, "not signed", 3, "--yes")
    done = bench.run(unsigned, "--insecure-unsigned")
    assert done.returncode == 0 and "nobody signed this bundle" in done.stderr


def test_the_flag_for_unsigned_bundles_excuses_no_bad_signature(bench: Bench, content: Members) -> None:
    bundle = bench.pack(content)
    with tampering.flip_a_byte(f"/{SUMS}")(bundle):
        bench.refuse(bundle, "", 3, "--insecure-unsigned", "--allowed-signers", bench.allowed)


@pytest.mark.parametrize(
    ("make", "named", "status"),
    [
        (lambda path: None, "no such file", 2),
        (lambda path: path.mkdir(), "not a file", 2),
        (lambda path: path.write_bytes(b""), "empty or cut short", 3),
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(2000)), "not a Ferry bundle", 3),
        (lambda path: path.write_text("hello\n" * 500), "not a Ferry bundle", 3),
    ],
    ids=["nothing", "folder", "empty", "gzip", "text"],
)
def test_what_is_no_bundle_is_refused(
    bench: Bench, make: Callable[[Path], object], named: str, status: int, tmp_path: Path
) -> None:
    path = tmp_path / "offered.tar"
    make(path)
    bench.refuse(path, named, status)


@pytest.mark.parametrize(
    "words", [["--nonsense"], ["--prefix"], ["one", "two"], ["--allowed-signers", "/nowhere/list"]]
)
def test_a_wrong_call_exits_2(bench: Bench, words: list[str]) -> None:
    done = subprocess.run(["sh", str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "error: " in done.stderr


def test_a_temporary_folder_that_is_full_is_no_damage(bench: Bench, content: Members) -> None:
    """A limit on the size of files, which the writing program survives, is as good as a full disk."""
    limited = ["sh", "-c", 'trap "" XFSZ; ulimit -f 1; exec sh "$@"', "sh"]
    bundle = bench.pack(replaced("install.pyz", bytes(9000))(content))
    done = bench.run(bundle, "--allowed-signers", bench.allowed, shell=limited)
    assert done.returncode == 1 and "cannot be written" in done.stderr and "TMPDIR" in done.stderr
    assert list((bench.folder / "tmp").iterdir()) == []
    done = bench.run(bundle, TMPDIR=str(bench.folder / "nowhere"))
    assert done.returncode == 1 and "no temporary folder" in done.stderr


@pytest.mark.parametrize(
    ("manifest", "status", "named"),
    [
        (b"hello\n", 3, "names no version of Python"),
        (b"{}\n", 3, "names no version of Python"),
        (b'{\n "format": 1\n}\n', 3, "names no version of Python"),
        (b'{"format": 2}', 4, "format 2 is newer"),
        (b'{\n "a": 1,\n "format": 12,\n "surprise": []\n}\n', 4, "format 12 is newer"),
    ],
)
def test_a_signed_manifest_of_another_kind_is_refused(
    bench: Bench, content: Members, manifest: bytes, status: int, named: str
) -> None:
    listed = {name: data for name, data in content if not name.startswith(SUMS)} | {"manifest.json": manifest}
    head = small_bundle.signed(bench.recipe, listed)
    rest = [(name, listed[name]) for name, _ in content if name in listed]
    bench.refuse(bench.pack([*head, *rest]), named, status)


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_prefix_to_which_everybody_may_write_is_refused(bench: Bench, content: Members, mode: int) -> None:
    """Its etc/allowed_signers would decide whose install.pyz is run."""
    prefix = bench.folder / "prefix"
    prefix.mkdir()
    prefix.chmod(mode)
    bench.refuse(bench.pack(content), "everybody may write to it", 4)
    prefix.chmod(0o775)
    assert bench.run(bench.folder / "bundle.tar", "--allowed-signers", bench.allowed).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_prefix_of_somebody_else_is_refused(bench: Bench, content: Members, tmp_path: Path) -> None:
    stranger = small_bundle.make_key(tmp_path / "stranger")
    own = bench.folder / "real" / "etc" / "allowed_signers"
    own.parent.mkdir(parents=True)
    shutil.copy(stranger.with_suffix(".allowed"), own)
    os.chown(own.parents[1], 12345, 12345)
    (bench.folder / "prefix").symlink_to("real")
    theirs = small_bundle.make(tmp_path / "m", Recipe(keys=(stranger,), installer=ECHO, is_installable=False))
    bench.refuse(theirs, "belongs to somebody else", 4)


def test_an_error_about_a_name_that_is_not_utf_8_is_valid_json(bench: Bench) -> None:
    words = [b"sh", os.fsencode(SCRIPT), b'no\xff "\xe5\x89\x8d\t".tar', b"--json"]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 2
    assert 'no "前 ".tar: no such file' in json.loads(done.stdout.decode())["error"]


def test_an_empty_prefix_is_not_the_folder_one_stands_in(bench: Bench, content: Members) -> None:
    done = bench.run(bench.pack(content), "--prefix", "", "--allowed-signers", bench.allowed)
    assert done.returncode == 2 and "--prefix needs a folder" in done.stderr


def test_an_error_is_one_json_object_where_asked(bench: Bench) -> None:
    done = bench.run('no "such" \\ file', "--json")
    answer = json.loads(done.stdout)
    assert answer["exit_code"] == done.returncode == 2
    assert 'no "such" \\ file: no such file' in answer["error"] and answer["hint"]


@pytest.fixture
def medium(bench: Bench, content: Members) -> Iterator[Path]:
    folder = bench.folder / "a medium"
    folder.mkdir()
    shutil.copy(SCRIPT, folder)
    bench.pack(content).rename(folder / "-ferry 1.tar")
    yield folder


def test_paths_with_blanks_and_leading_dashes_work(bench: Bench, medium: Path) -> None:
    words = ["--allowed-signers", str(bench.allowed), "--user-mode", "--prefix=-a prefix", "--", "-ferry 1.tar"]
    done = subprocess.run(["sh", "install.sh", *words], cwd=medium, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    argv = json.loads(done.stdout)["argv"]
    assert argv[:4] == ["--prefix", f"{medium}/-a prefix", "install", f"{medium}/-ferry 1.tar"]


def test_the_only_bundle_beside_the_script_is_taken(bench: Bench, medium: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        words = ["--allowed-signers", str(bench.allowed), "--user-mode", "--prefix", str(bench.folder / "prefix")]
        command = ["sh", str(medium / "install.sh"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run().returncode == 2
    (medium / "-ferry 1.tar").rename(medium / "ferry-a.tar")
    assert json.loads(run().stdout)["argv"][3] == str(medium / "ferry-a.tar")
    shutil.copy(medium / "ferry-a.tar", medium / "ferry-b.tar")
    assert "2 bundles beside" in run().stderr


def test_a_server_without_the_right_python_is_told_which(bench: Bench) -> None:
    recipe = Recipe(keys=(bench.key,), installer=ECHO, is_installable=False, python="3.99")
    bundle = bench.pack(small_bundle.members(recipe))
    bench.refuse(bundle, "no Python 3.99 here", 4)
    bench.refuse(bundle, "3.99", 4, "--allowed-signers", bench.allowed, "--python", "/bin/false")


@pytest.mark.parametrize("absent", ["ssh-keygen", "sha256sum", "base64"])
def test_a_server_without_a_tool_is_told_which(bench: Bench, content: Members, absent: str, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS - {absent}:
        (tools / name).symlink_to(str(shutil.which(name)))
    done = bench.run(bench.pack(content), shell=[str(shutil.which("sh"))], PATH=str(tools))
    assert done.returncode == 4 and f"{absent}: command not found" in done.stderr
