"""What the web says, and how it ends, when ferry.toml cannot be used."""

import os
import subprocess
import sys


def test_a_misspelt_key_ends_the_start_with_status_2_the_key_and_what_is_allowed(tmp_path):
    (tmp_path / "ferry.toml").write_text('[web]\nlistn = "127.0.0.1:8080"\n')
    folders = {name: str(tmp_path) for name in ("FERRY_RELEASE", "FERRY_DATA", "FERRY_LOG", "FERRY_CACHE")}
    files = {"FERRY_CONFIG": str(tmp_path / "ferry.toml"), "FERRY_SOCKET": str(tmp_path / "engine.sock")}
    argv = [sys.executable, "-m", "service.web"]
    done = subprocess.run(argv, env={**os.environ, **folders, **files}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "error: ferry.toml: [web] listn: no such key; allowed: listen" in done.stderr
    assert "hint: edit " in done.stderr
    assert "Traceback" not in done.stderr
