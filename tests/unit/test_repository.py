"""What holds for the whole repository: who may import whom, what may never be written down, and the linters."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from roots import CACHE, locked

ROOT = Path(__file__).resolve().parents[2]
OURS = ("benchmarks", "bundle", "checksums", "installer", "service", "tests")
MAX_LINES = 350
# It is proved by one signature and runs before anything else can be: it cannot be cut in two.
LONGER = {"installer/install.sh": 550}

# In two pieces each, so that this file passes its own test.
REGISTRY_HOSTS = ("py" + "pi.org", "python" + "hosted.org", "py" + "torch.org", "debian" + ".org", "npm" + "js.")
MACHINE_PATHS = ("/opt/" + "wheels", "/opt/" + "pypi", "/work" + "/", "/root/" + ".pyenv")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_vendored(path: Path) -> bool:
    return "vendor" in path.parts


def sources(folder: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and relative(path).startswith(folder + "/")]


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every import in a file, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(folder: str, forbidden: tuple[str, ...]) -> list[str]:
    def is_forbidden(name: str) -> bool:
        return any(name == word or name.startswith(word + ".") for word in forbidden)

    return [
        f"{relative(path)} imports {name}" for path in sources(folder) for name in imports(path) if is_forbidden(name)
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("bundle", ("service", "tests")),
        ("installer", ("bundle", "service", "tests")),
        ("checksums", ("bundle", "installer", "service", "tests")),
        ("service", ("bundle", "checksums", "installer", "tests")),
        ("service/web", ("torch", "transformers", "service.engine")),
        ("service/engine", ("sqlalchemy", "alembic", "sqlite3", "service.web")),
    ],
)
def test_imports_follow_the_arrows(folder: str, forbidden: tuple[str, ...]) -> None:
    assert offences(folder, forbidden) == []


def test_bundle_uses_the_installer_only_to_verify_its_own_output() -> None:
    names = {name for path in sources("bundle") for name in imports(path) if name.split(".")[0] == "installer"}
    assert {name for name in names if not name.startswith("installer.verify")} == set()


@pytest.mark.parametrize(("folder", "allowed"), [("checksums", set()), ("installer", {"click", "tqdm"})])
def test_the_trust_core_and_the_installer_need_no_more_than_they_carry(folder: str, allowed: set[str]) -> None:
    known = sys.stdlib_module_names | allowed | {"checksums", folder}
    assert [f"{relative(p)}: {n}" for p in sources(folder) for n in imports(p) if n.split(".")[0] not in known] == []


@pytest.mark.parametrize("words", [REGISTRY_HOSTS, MACHINE_PATHS], ids=["registry hosts", "machine paths"])
def test_no_file_names_a_registry_host_or_a_machine_path(words: tuple[str, ...]) -> None:
    pattern = re.compile("|".join(map(re.escape, words)).encode())
    assert [relative(path) for path in tracked() if not is_vendored(path) and pattern.search(path.read_bytes())] == []


def test_every_file_of_ours_can_be_read_in_one_sitting() -> None:
    written = {".py", ".sh", ".js", ".css", ".html", ".md", ".toml", ""}
    ours = [path for path in tracked() if path.suffix in written and not is_vendored(path) and path.name != "LICENSE"]
    lengths = {relative(path): path.read_bytes().count(b"\n") for path in ours}
    assert {name: length for name, length in lengths.items() if length > LONGER.get(name, MAX_LINES)} == {}


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    names = {relative(path): path.stem for folder in OURS for path in sources(folder)}
    assert [name for name, stem in names.items() if stem in sys.stdlib_module_names] == []


def test_test_files_have_names_of_their_own() -> None:
    """Without packages under tests/, two files of one name would be one module."""
    files = [path for path in sources("tests") if path.name.startswith("test_") or path.parent == ROOT / "tests"]
    assert len({path.name for path in files}) == len(files)
    assert [relative(path) for path in sources("tests") if path.name == "__init__.py"] == []


def shell_scripts() -> list[str]:
    files = [path for path in tracked() if path.suffix in (".sh", "") and not is_vendored(path)]
    return [
        relative(path) for path in files if path.read_bytes().startswith(b"#!") and b"sh\n" in path.read_bytes()[:40]
    ]


def run_tool(*argv: str) -> None:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_ruff_is_content() -> None:
    run_tool(sys.executable, "-m", "ruff", "check", "--quiet", ".")


def test_every_file_is_formatted() -> None:
    run_tool(sys.executable, "-m", "ruff", "format", "--check", "--quiet", ".")


def test_the_types_hold() -> None:
    # A fresh checkout begins with what is known of the files that are as they were; mypy goes by their digests.
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "mypy.lock"):
        run_tool(sys.executable, "-m", "mypy", "--cache-dir", str(CACHE / "mypy"))


def test_the_shell_scripts_hold() -> None:
    run_tool(str(Path(sys.executable).with_name("shellcheck")), *shell_scripts())
