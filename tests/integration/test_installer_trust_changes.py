"""Keys that change while a service is installed: a threshold, a new list that a bundle brings, keys that expire."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import small_bundle
from install_bench import OUTPUT, Bench, benching, tree

from checksums import signature
from checksums.layout import NEXT_SIGNERS


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        yield made


def key(bench: Bench, name: str) -> Path:
    return small_bundle.make_key(bench.folder / name)


def fingerprint(path: Path) -> str:
    return signature.parse(signature.sign(b"", path)).fingerprint


def at_a_terminal(bench: Bench, bundle: Path, typed: bytes) -> subprocess.CompletedProcess[str]:
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    done = subprocess.run(bench.command(bundle), stdin=theirs, **OUTPUT, env=bench.environment, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    return done


def test_a_new_key_takes_over_from_the_old_one(bench: Bench) -> None:
    old, new = bench.key, key(bench, "new")
    listed = new.with_suffix(".allowed").read_bytes()
    own = bench.prefix / "etc" / "allowed_signers"
    first = bench.recipe
    bench.install(first)
    brings = replace(first, version="2.0.0", sequence=2, more={NEXT_SIGNERS: listed})
    bundle = small_bundle.make(bench.folder / "medium", brings)

    done = json.loads(bench.install_file(bundle, "--yes", "--json").stdout)
    assert done["signers"]["changed"] is False and "ferry trust add --replace" in done["signers"]["hint"]
    assert own.read_bytes() == old.with_suffix(".allowed").read_bytes()
    assert "was not taken" in at_a_terminal(bench, bundle, b"no\n").stdout, "asked again when it is offered again"

    again = small_bundle.make(bench.folder / "medium", replace(brings, version="3.0.0", sequence=3))
    said = at_a_terminal(bench, again, b"no\n")
    assert f"remove {fingerprint(old)}" in said.stderr and f"add    {fingerprint(new)}" in said.stderr
    assert "was not taken" in said.stdout and own.read_bytes() != listed
    again = small_bundle.make(bench.folder / "medium", replace(brings, version="4.0.0", sequence=4))
    assert "is now this server's" in at_a_terminal(bench, again, b"yes\n").stdout
    assert own.read_bytes() == listed and own.stat().st_mode & 0o777 == 0o644
    assert bench.ferry("verify") == {"ok": True, "problems": []}, "what the old key signed stays what it is"

    before = tree(bench.prefix)
    refused = bench.install(replace(first, version="5.0.0", sequence=5), status=3)
    assert "signed by a key that" in refused.stderr and fingerprint(old) in refused.stderr
    assert tree(bench.prefix) == before
    bench.install(replace(first, keys=(new,), version="5.0.0", sequence=5))
    assert bench.ferry("trust", "list")["keys"][0]["fingerprint"] == fingerprint(new)


def test_a_list_is_taken_unattended_by_its_digest_and_never_from_an_unsigned_bundle(bench: Bench) -> None:
    both = bench.key.with_suffix(".allowed").read_bytes() + key(bench, "new").with_suffix(".allowed").read_bytes()
    digest = f"sha256:{hashlib.sha256(both).hexdigest()}"
    own = bench.prefix / "etc" / "allowed_signers"
    recipe = replace(bench.recipe, more={NEXT_SIGNERS: both})
    for words in (["--accept-signers", f"sha256:{'0' * 64}"], ["--accept-signers=x"]):
        assert "the bundle brings sha256:" in bench.install(recipe, *words, status=2).stderr
    assert not bench.prefix.exists()
    unsigned = bench.install(replace(recipe, keys=()), "--insecure-unsigned", "--accept-signers", digest, "--json")
    assert "nobody signed this bundle" in json.loads(unsigned.stdout)["signers"]["hint"]
    assert own.read_bytes() == bench.key.with_suffix(".allowed").read_bytes(), "the operator's, not the bundle's"
    bench.ferry("uninstall", "--purge")
    assert digest in bench.install(recipe, "--dry-run").stderr
    done = json.loads(bench.install(recipe, "--accept-signers", digest, "--json").stdout)
    assert done["signers"]["changed"] is True and own.read_bytes() == both
    own.write_bytes(bench.key.with_suffix(".allowed").read_bytes())
    again = bench.install(recipe, "--accept-signers", digest)
    assert "installed already" in again.stdout and "is now this server's" in again.stdout and own.read_bytes() == both
    plain = replace(bench.recipe, version="2.0.0", sequence=2)
    assert "brings no list" in bench.install(plain, "--accept-signers", digest, status=2).stderr
    broken = replace(plain, more={NEXT_SIGNERS: b"ferry cert-authority nobody\n"})
    before = tree(bench.prefix)
    assert f"{NEXT_SIGNERS}:1: not a key" in bench.install(broken, status=3).stderr
    assert tree(bench.prefix) == before and bench.ferry("status")["ready"] is True


def test_a_threshold_holds_from_the_first_install_on(bench: Bench) -> None:
    second, third = key(bench, "second"), key(bench, "third")
    listed = bench.folder / "listed"
    listed.write_text("".join(one.with_suffix(".allowed").read_text() for one in (bench.key, second, third)))
    two = replace(bench.recipe, keys=(second, third))
    asked = ("--allowed-signers", str(listed), "--threshold", "2")
    assert "signed by 1 of the 2 trusted keys" in bench.install(bench.recipe, *asked, status=3).stderr
    bench.install(two, *asked)
    assert "\nthreshold = 2\n" in (bench.prefix / "etc" / "ferry.toml").read_text()
    newer = replace(two, version="2.0.0", sequence=2)
    said = bench.install(replace(newer, keys=(second, second)), "--threshold", "1", status=3).stderr
    assert "signed by 1 of the 2 trusted keys" in said
    assert "decides, not --threshold" in bench.install(newer, "--threshold", "3").stderr
    assert bench.ferry("trust", "list")["threshold"] == 2
    bench.ferry("trust", "revoke", fingerprint(bench.key), "--yes")
    assert bench.ferry("trust", "revoke", fingerprint(third), "--yes", status=1)["exit_code"] == 1


def test_what_was_installed_stays_good_when_its_key_expires(bench: Bench) -> None:
    bench.install(bench.recipe)
    own = bench.prefix / "etc" / "allowed_signers"
    own.write_text(own.read_text().replace('"ferry-bundle"', '"ferry-bundle",valid-before="20200101"'))
    assert bench.ferry("verify")["ok"] is True
    refused = bench.install(replace(bench.recipe, version="2.0.0", sequence=2), status=3)
    assert "line 1: key has expired" in refused.stderr and "2020-01-01T00:00:00" in refused.stderr
    release = next((bench.prefix / "releases").iterdir())
    (release / "SHA256SUMS.sig").unlink()
    problems = bench.ferry("verify", status=3)["problems"]
    assert problems == [{"path": "SHA256SUMS", "problem": f"the signature by {fingerprint(bench.key)} is missing"}]
