"""A long conversation over the real web tier and a real engine: the engine computes only what is new."""

from __future__ import annotations

import json
from pathlib import Path

import engine_process
import tiny_model
from web_process import web_process

TURNS = 20
SETTINGS = "[engine]\nmax_new_tokens = 24\n"


def test_most_of_a_long_conversation_is_not_computed_again(tmp_path: Path) -> None:
    model = tiny_model.make(tmp_path / "model")
    engine = engine_process.EngineProcess(tmp_path / "engine", model, "tiny", SETTINGS)
    (tmp_path / "web").mkdir()
    with (
        engine_process.running(engine),
        web_process(tmp_path / "web", SETTINGS, socket=engine.socket) as web,
    ):
        web.add_user("alice")
        alice = web.login("alice")
        chat = alice.post("/api/conversations").json()["id"]
        seen = []
        for number in range(TURNS):
            question = f"Question {number}: what is the capital of France, and which river does it lie on?"
            answer = alice.post(f"/api/conversations/{chat}/messages", json={"content": question})
            figures = json.loads(answer.text.splitlines()[-1])["figures"]
            seen.append((figures["prompt_tokens"], figures.get("cached_tokens", 0)))
    print(seen)
    above_half = [cached > prompt / 2 for prompt, cached in seen]
    assert sum(above_half[1:]) > (TURNS - 1) / 2, seen
    assert sum(above_half[-4:]) >= 3, "at turn 20 the history moves once in four turns"
