"""A bundle that is not exactly what was signed is refused with exit 3, and the server is as it was."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tampering
from container import Container
from demo_bundle import DemoBundle
from roots import server_root

Damage = Callable[[Path], tampering.Damage]


@pytest.fixture(scope="module")
def server(demo_media: DemoBundle) -> Iterator[Container]:
    """A server with a copy of the medium that tests may damage."""
    made = Container(server_root())
    shutil.copytree(demo_media.folder, made.folder / "medium")
    made.show("/media/usb", made.folder / "medium")
    with made:
        yield made


@pytest.fixture(scope="module")
def medium(server: Container) -> Path:
    return server.folder / "medium"


@pytest.fixture(scope="module")
def bundle(medium: Path) -> Path:
    (found,) = medium.glob("ferry-demo-*.tar")
    return found


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("stranger") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "stranger", "-f", str(key)], check=True)
    return key


@pytest.fixture
def is_untouched(server: Container) -> Iterator[None]:
    """Compare disk, units and accounts before and after a test."""
    before = state(server)
    yield
    assert state(server) == before


def state(server: Container) -> dict[str, str]:
    units = server.run(["systemctl", "list-unit-files", "--no-legend", "--no-pager"]).stdout
    accounts = server.run(["cat", "/etc/passwd", "/etc/group"]).stdout
    return server.listing("/", "/tmp") | {"units": units, "accounts": accounts}


def refuse(server: Container, bundle: str, *arguments: str) -> str:
    """Run install.sh, expect exit 3, and return what it said."""
    command = ["sh", "/media/usb/install.sh", f"/media/usb/{bundle}", "--yes", *arguments]
    done = server.run(command, check=False, timeout_s=300)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


TRUST = ("--allowed-signers", "/media/usb/allowed_signers")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (tampering.flip_a_byte(".whl"), ".whl: "),
        (tampering.flip_a_byte("model.safetensors"), "model.safetensors: "),
        (tampering.flip_a_byte("/manifest.json"), "manifest.json: "),
        (tampering.flip_a_byte("/install.pyz"), "install.pyz: "),
        (tampering.flip_a_byte("/SHA256SUMS"), "SHA256SUMS"),
        (tampering.change_one_base64_character, "SHA256SUMS.sig: "),
        (tampering.break_the_lines_elsewhere, "SHA256SUMS.sig: not an SSH signature in canonical form"),
        (tampering.keep(0.00001), "cut short"),
        (tampering.keep(0.5), "cut short"),
        (tampering.keep(0.99), "cut short"),
        (tampering.drop_the_last_block, "cut short"),
        (tampering.keep_nothing, "empty or cut short"),
        (tampering.repeat("/SHA256SUMS"), "SHA256SUMS: occurs twice"),
        (tampering.repeat("/manifest.json"), "manifest.json: occurs twice"),
        (tampering.repeat("/config.json"), "config.json: occurs twice"),
    ],
    ids=[
        "a wheel",
        "the weights",
        "manifest.json",
        "install.pyz",
        "SHA256SUMS",
        "one base64 character of the signature",
        "a signature not in canonical form",
        "cut in the head",
        "cut in the middle",
        "cut near the end",
        "without its last block",
        "empty",
        "the list twice",
        "the manifest twice",
        "a payload file twice",
    ],
)
@pytest.mark.usefixtures("is_untouched")
def test_a_damaged_bundle_is_refused_by_name(server: Container, bundle: Path, damage: Damage, named: str) -> None:
    with damage(bundle):
        assert named in refuse(server, bundle.name, *TRUST)


@pytest.mark.usefixtures("is_untouched")
def test_a_bundle_signed_by_a_stranger_is_refused(server: Container, bundle: Path, stranger: Path) -> None:
    with tampering.sign_with_another_key(stranger)(bundle):
        said = refuse(server, bundle.name, *TRUST)
    assert "a key that" in said and "/media/usb/allowed_signers" in said


@pytest.mark.usefixtures("is_untouched")
def test_a_list_that_allows_only_others_refuses_the_bundle(server: Container, bundle: Path, stranger: Path) -> None:
    key = " ".join(stranger.with_suffix(".pub").read_text().split()[:2])
    server.put("/tmp/others", f'ferry namespaces="ferry-bundle" {key}\n'.encode())
    said = refuse(server, bundle.name, "--allowed-signers", "/tmp/others")
    server.run(["rm", "/tmp/others"])
    assert "a key that /tmp/others does not allow" in said


@pytest.mark.usefixtures("is_untouched")
def test_yes_confirms_no_key(server: Container, bundle: Path) -> None:
    assert "trusts no key yet" in refuse(server, bundle.name)


@pytest.mark.usefixtures("is_untouched")
def test_an_unsigned_bundle_needs_the_flag(server: Container, bundle: Path, medium: Path) -> None:
    unsigned = medium / "unsigned" / bundle.name
    unsigned.parent.mkdir()
    tampering.write_unsigned(bundle, unsigned)
    path = unsigned.relative_to(medium)
    try:
        assert "not signed" in refuse(server, str(path), *TRUST)
        command = ["sh", "/media/usb/install.sh", f"/media/usb/{path}", "--insecure-unsigned", "--yes", "--dry-run"]
        assert "nobody signed this bundle" in server.run(command, timeout_s=300).stderr
    finally:
        shutil.rmtree(unsigned.parent)


@pytest.mark.usefixtures("is_untouched")
def test_a_refusal_is_one_json_object_for_a_script(server: Container, bundle: Path) -> None:
    with tampering.flip_a_byte("/install.pyz")(bundle):
        command = ["sh", "/media/usb/install.sh", f"/media/usb/{bundle.name}", *TRUST, "--json"]
        done = server.run(command, check=False)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["exit_code"]) == (3, 3)
    assert "install.pyz" in answer["error"] and answer["hint"]
