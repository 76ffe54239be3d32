"""A job becomes an answer: tokens are generated, turned into text, and told to the client piece by piece.

This module and what it imports hold torch, so it is imported by the decoder's thread alone, once the socket listens.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from service.config import Engine
from service.engine.cpu import count_threads
from service.engine.errors import invalid
from service.engine.generation import generate
from service.engine.jobs import Ended, Finished, Job, Piece, Timings, Usage, Work
from service.engine.model import load
from service.engine.prompts import Prompts
from service.engine.protocol import ChatRequest, CompletionRequest
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
        prompt = self._prompts.encode(request)
        room = self.context_tokens - len(prompt)
        if room < 1:
            raise invalid(
                f"the prompt has {len(prompt)} tokens, the context {self.context_tokens} with the answer: shorten it",
                param="messages" if isinstance(request, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        options = request.options
        limit = min(room, self._settings.max_new_tokens, options.max_tokens or room)
        sampling = Sampling.of(options, self._model.defaults)
        return Work(tuple(prompt), sampling, limit, options.stop, options.n, options.grammar)

    def answer(self, job: Job, check: Callable[[], None]) -> Finished:
        """Decode a job, telling its pieces as they come. Raises: Cancelled when `check` does."""
        began = time.monotonic()
        counts = [self._answer_one(job, index, check) for index in range(job.work.choices)]
        usage = Usage(len(job.work.prompt), sum(counts))
        return Finished(usage, Timings(0, usage.prompt_tokens, 0.0, sum(counts), time.monotonic() - began))

    def _answer_one(self, job: Job, index: int, check: Callable[[], None]) -> int:
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
            _tell(job, index, cut.text)
            if cut.is_stopped:
                job.emit(Ended(index, "stop"))
                return count
        cut = stops.push(text.flush())
        _tell(job, index, cut.text if cut.is_stopped else cut.text + stops.flush())
        job.emit(Ended(index, "stop" if cut.is_stopped else reason))
        return count


def _tell(job: Job, index: int, text: str) -> None:
    if text:
        job.emit(Piece(index, text))
