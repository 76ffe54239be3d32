"""The JavaScript client from npm, as its lock has it: installed once below ~/.cache/ferry, then run on a server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import npm_modules
from conformance_target import Target

PROJECT = Path(__file__).parent / "openai_npm"


def run(target: Target, folder: Path) -> dict[str, str]:
    """Run the checks. Returns: by name, "ok", or why one failed."""
    npm_modules.workplace(PROJECT, folder)
    places = {"FERRY_URL": f"{target.root}/v1", "FERRY_KEY": target.key, "FERRY_MODEL": target.model}
    done = subprocess.run(
        ["node", str(folder / "client.mjs")], env=os.environ | places, capture_output=True, text=True, timeout=600
    )
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    assert lines, done.stderr
    results = {}
    for word, _, rest in lines:
        name, _, why = rest.partition(": ")
        results[name] = "ok" if word == "ok" else why
    return results
