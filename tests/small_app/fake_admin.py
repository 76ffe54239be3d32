"""The admin commands of the small bundle, with the JSON of the real ones; accounts are lines in a file."""

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

behaviour = (Path(__file__).parents[1] / "behaviour").read_text()
accounts = Path(os.environ["FERRY_DATA"], "accounts")
words = [word for word in sys.argv[1:] if word != "--json"]


def answer(value: object, status: int = 0) -> None:
    print(json.dumps(value))
    sys.exit(status)


def names() -> list[str]:
    return accounts.read_text().split() if accounts.exists() else []


if words[0] == "config":
    listen = re.search(r'^listen = "(.*)"', Path(os.environ["FERRY_CONFIG"]).read_text(), re.MULTILINE)
    assert listen
    answer({"url": f"http://{listen[1]}".replace("0.0.0.0", "127.0.0.1"), "listen": listen[1], "engine_url": ""})
if words[0] == "selftest":
    if behaviour == "no answer":
        answer({"error": "the model gave no answer", "hint": "see the engine's log", "exit_code": 1}, 1)
    answer({"ok": True, "answer": "Paris.", "chunks": 5, "seconds": 0.1})
if words[:2] == ["user", "list"]:
    answer({"users": [{"user": name} for name in names()]})
if words[:2] == ["user", "add"]:
    if words[2] in names():
        answer({"error": f"{words[2]}: exists", "hint": "choose another name", "exit_code": 1}, 1)
    accounts.write_text("\n".join([*names(), words[2]]))
    answer({"user": words[2], "password": "correct horse"})
newest = Path(__file__).parents[1] / "revision"
known = [f"{number:04}" for number in range(1, int(newest.read_text() if newest.exists() else "1") + 1)]
if words[0] == "revision":
    at = {} if "--release" in words else {"database": known[-1] if accounts.exists() else None}
    answer({**at, "release": known[-1], "known": known})
if words[0] == "copy":
    made = {"leave": ["accounts-wal"], "revision": known[-1] if accounts.exists() else None, "outside": ""}
    if "--dry-run" in words or not accounts.exists():
        answer({**made, "folder": "", "files": []})
    folder = tempfile.mkdtemp(prefix=".backup-", dir=accounts.parent)
    shutil.copy(accounts, folder)
    answer({**made, "folder": folder, "files": ["accounts"]})
sys.exit(f"unknown: {words}")
