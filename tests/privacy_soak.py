"""Hold conversations with secrets for a long time and restart the engine between rounds: `privacy_soak.py [MINUTES]`.

The demo's real model, as `make soak` runs it for an hour; a short run is in tests/integration/test_engine_privacy.py.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from engine_process import EngineProcess, running  # noqa: E402

from bundle.demo_model import demo_folder  # noqa: E402
from service.web.privacy import examine  # noqa: E402

CONFIG = "[engine]\ncontext_tokens = 512\nslots = 4\n[queue]\nper_user = 8\ntotal = 16\n"
ROUNDS_A_LIFE = 5
# On a busy machine an answer may take its time: what counts is what it says.
WAIT_S = 900


class Socket:
    """Asks an engine as the web tier does."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine

    def __call__(self, user: int, conversation: int, body: Mapping[str, Any], leave: bool) -> str:
        headers = {"X-Ferry-User": f"user{user}", "X-Ferry-Conversation": f"c{conversation}"}
        with self.engine.client() as client:
            client.timeout = WAIT_S
            request = {**body, "stream": leave}
            with client.stream("POST", "/v1/chat/completions", json=request, headers=headers) as response:
                assert response.status_code == 200
                if leave:
                    next(response.iter_raw(), b"")
                    return ""
                response.read()
                return str(response.json()["choices"][0]["message"]["content"])


def main(minutes: float) -> None:
    """Examine until the time is over, and say what was found."""
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as folder:
        engine = EngineProcess(Path(folder) / "engine", demo_folder(), "demo", CONFIG)

        def go_on(rounds: int) -> bool:
            if rounds % ROUNDS_A_LIFE == 0:
                engine.stop()
                engine.start()
                engine.wait_until_ready()
            return time.monotonic() < end

        with running(engine):
            report = examine(Socket(engine), go_on)
    print(report)
    sys.exit(not report.is_ok)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60)
