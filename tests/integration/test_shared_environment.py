"""A development environment that several checkouts share by a link is never cleared by one of them."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_setup_does_not_clear_an_environment_through_a_link(tmp_path: Path) -> None:
    shared, checkout = tmp_path / "shared", tmp_path / "checkout"
    (shared / "bin").mkdir(parents=True)
    (shared / "requirements.sha256").write_text("of another checkout\n")
    (checkout / "make").mkdir(parents=True)
    shutil.copy(ROOT / "make" / "setup.sh", checkout / "make")
    (checkout / "requirements-dev.txt").write_text("nothing-that-exists==1.0\n")
    (checkout / ".venv").symlink_to(shared)
    command = ["sh", "make/setup.sh", "python3"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: .venv is a link to {shared}" in done.stderr and "hint: " in done.stderr
    assert (shared / "requirements.sha256").read_text() == "of another checkout\n"
