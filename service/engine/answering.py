"""A job becomes an answer: tokens are generated, turned into text, and told to the client piece by piece.

This module and what it imports hold torch, so it is imported by the decoder's thread alone, once the socket listens.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from service.config import Engine
from service.engine.cpu import count_threads
from service.engine.errors import invalid
from service.engine.generation import generate
from service.engine.jobs import Finished, Job, Piece, Work
from service.engine.model import load
from service.engine.prompts import Prompts
from service.engine.protocol import ChatRequest, CompletionRequest
from service.engine.replies import Usage
from service.engine.sampling import Sampling
from service.engine.text import Detokenizer, StopFilter

log = logging.getLogger(__name__)


class Answerer:
    """A loaded model and its tokenizer. `prepare` may be called from any thread, `answer` from the loading one only."""

    def __init__(self, folder: Path, settings: Engine) -> None:
        """Load what a release carries. Raises: EngineError."""
        threads = count_threads(settings.threads)
        self._settings = settings
        self._prompts = Prompts(folder, settings.system_prompt)
        self._model = load(folder, settings.context_tokens, threads)
        self._stop_tokens = self._model.stop_tokens | self._prompts.stop_tokens
        log.info("loaded %s with %d threads, %d tokens of context", folder, threads, self.context_tokens)

    @property
    def context_tokens(self) -> int:
        return self._model.context_tokens

    def prove(self) -> None:
        """Generate one token, so that "ready" is a fact and the first user does not wait for the first run."""
        for _ in generate(self._model.decoder, [0], Sampling(), self._stop_tokens, 1, check=lambda: None):
            pass

    def prepare(self, request: ChatRequest | CompletionRequest) -> Work:
        """Turn a request into tokens and settings.

        Raises: RequestError when the prompt does not leave room for an answer.
        """
        prompt = self._encode(request)
        room = self.context_tokens - len(prompt)
        if room < 1:
            raise invalid(
                f"the prompt has {len(prompt)} tokens, the context {self.context_tokens} with the answer: shorten it",
                param="messages" if isinstance(request, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        options = request.options
        limit = min(room, self._settings.max_new_tokens, options.max_tokens or room)
        return Work(tuple(prompt), Sampling.of(options, self._model.defaults), limit, options.stop)

    def _encode(self, request: ChatRequest | CompletionRequest) -> list[int]:
        if isinstance(request, ChatRequest):
            return self._prompts.encode_chat(request.messages)
        return self._prompts.encode_text(request.prompt)

    def answer(self, job: Job, check: Callable[[], None]) -> Finished:
        """Decode a job, telling its pieces as they come. Raises: Cancelled when `check` does."""
        work = job.work
        text, stops = Detokenizer(self._prompts.decode), StopFilter(work.stops)
        count, reason = 0, "length"
        for token in generate(
            self._model.decoder, work.prompt, work.sampling, self._stop_tokens, work.max_tokens, check
        ):
            count += 1
            if token in self._stop_tokens:
                reason = "stop"
                break
            cut = stops.push(text.push(token))
            _tell(job, cut.text)
            if cut.is_stopped:
                return Finished("stop", Usage(len(work.prompt), count))
        cut = stops.push(text.flush())
        _tell(job, cut.text if cut.is_stopped else cut.text + stops.flush())
        return Finished("stop" if cut.is_stopped else reason, Usage(len(work.prompt), count))


def _tell(job: Job, text: str) -> None:
    if text:
        job.emit(Piece(text))
