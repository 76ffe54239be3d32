"""The admin commands of the small bundle, with the JSON of the real ones; accounts are lines in a file."""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

behaviour = (Path(__file__).parents[1] / "behaviour").read_text()
kept = Path(__file__).parents[1] / "schema"
schema = kept.read_text() if kept.exists() else "1"
there = Path(os.environ["FERRY_DATA"], "schema")
colours = there.with_name("colours")
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
at = there.read_text() if there.exists() else ""
if words[0] == "revision":
    known = [str(number) for number in range(1, int(schema) + 1)]
    answer({"database": at, "release": schema, "known": known})
if words[:2] == ["migrate", "--to"]:
    losses = [f"{len(colours.read_text())} colours"] if colours.exists() and words[2] < "2" else []
    if "--dry-run" not in words:
        there.write_text(words[2])
        if losses:
            colours.unlink()
    answer({"from": schema, "to": words[2], "losses": losses})
if words[0] == "selftest":
    if behaviour == "answer never comes":
        time.sleep(3600)
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
if words[0] == "copy":
    made = {"leave": ["accounts-wal", "answers/"], "revision": at or None, "outside": ""}
    if "--dry-run" in words or not accounts.exists():
        answer({**made, "folder": "", "files": []})
    folder = tempfile.mkdtemp(prefix=".backup-", dir=accounts.parent)
    shutil.copy(accounts, folder)
    answer({**made, "folder": folder, "files": ["accounts"]})
if words[0] == "audit":
    answer({"event": words[1], "adopted": False})
sys.exit(f"unknown: {words}")
