"""How `make test` runs the tests: on two cores, the quick kinds first, and with CI=true nothing is passed over."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "unit/test_quick.py": "def test_it(notes): notes('unit')\n",
    "integration/test_slower.py": "def test_it(notes): notes('integration')\n",
    "browser/test_slowest.py": "def test_it(notes): notes('browser')\n",
}
NOTES = """
import os, pytest
@pytest.fixture
def notes():
    def note(kind):
        with open(os.environ["NOTES"], "a") as file:
            file.write(kind + " ")
    return note
"""


def run(folder: Path, files: dict[str, str], ci: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a few tests below the real conftest.py, with the words that the Makefile gives."""
    for name, text in files.items():
        (folder / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tests" / name).write_text(text)
    shutil.copy(ROOT / "tests" / "conftest.py", folder / "tests")
    with (folder / "tests" / "conftest.py").open("a") as conftest:
        conftest.write(NOTES)
    shutil.copy(ROOT / "pyproject.toml", folder)
    makefile = (ROOT / "Makefile").read_text()
    words = next(line for line in makefile.splitlines() if line.startswith("BESIDE = ")).partition("= ")[2].split()
    settings = {"CI": ci, "NOTES": str(folder / "notes"), "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, *more]
    return subprocess.run(command, cwd=folder, env=clean | settings, capture_output=True, text=True, check=False)


@pytest.mark.browser
def test_the_quick_kinds_are_begun_first_and_the_last_line_sums_up(tmp_path: Path) -> None:
    # Of two processes the second may be late with what it was given first.
    done = run(tmp_path, FILES, "true", "-n", "1")
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "notes").read_text().split() == ["unit", "integration", "browser"]
    assert " 3 passed in " in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("ci", "status", "failures"), [("true", 1, 2), ("", 0, 0)])
def test_a_skip_of_a_test_or_of_a_whole_file_is_a_failure_in_ci(
    tmp_path: Path, ci: str, status: int, failures: int
) -> None:
    one = "import pytest\ndef test_it(): pytest.skip('no')\n"
    whole = "import pytest\npytest.importorskip('nothing_like_it')\n"
    done = run(tmp_path, {"unit/test_quick.py": one, "integration/test_slower.py": whole}, ci)
    assert done.returncode == status, done.stdout
    assert sum("skipped, and CI=true" in line for line in summary(done.stdout)) == failures


def summary(output: str) -> list[str]:
    return output.partition("short test summary")[2].splitlines()
