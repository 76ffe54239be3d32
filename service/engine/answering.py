"""A loaded model and its tokenizer: requests become work for its decoder, and what that chooses becomes text.

This module and what it imports hold torch, so it is imported by the decoder's thread alone, once the socket listens.
"""

import logging
from pathlib import Path

from service.config import Engine
from service.engine.chooser import Chooser
from service.engine.cpu import count_threads
from service.engine.decoding import PAGE_TOKENS, Decoder
from service.engine.errors import invalid
from service.engine.grammar import Grammars
from service.engine.jobs import Work
from service.engine.line import Turn
from service.engine.model import load
from service.engine.prompts import Prompts
from service.engine.protocol import ChatRequest, CompletionRequest
from service.engine.room import Room
from service.engine.sampling import Sampling
from service.engine.spelling import Spelling
from service.engine.transcript import Transcript

log = logging.getLogger(__name__)


class Answerer:
    """What is known of the model. `prepare` may be called from any thread."""

    def __init__(self, folder: Path, cache: Path, settings: Engine, room: Room) -> None:
        """Load a release's model into the room; `cache` is the engine's own folder. Raises: EngineError."""
        self._settings = settings
        self._prompts = Prompts(folder, settings.system_prompt)
        self._spelling = Spelling(self._prompts.tokenizer)
        self._model = load(folder, settings, cache, room)
        self._stop_tokens = self._model.stop_tokens | self._prompts.stop_tokens
        self._grammars = Grammars(self._prompts.tokenizer, self._stop_tokens)
        how = (self._model.decoding, count_threads(settings.threads), self.context_tokens)
        log.info("loaded %s: %s, %d threads, %d tokens of context", folder, *how)

    @property
    def decoder(self) -> Decoder:
        return self._model.decoder

    @property
    def context_tokens(self) -> int:
        return min(self._model.context_tokens, self.decoder.page_count * PAGE_TOKENS)

    def prepare(self, request: ChatRequest | CompletionRequest) -> Work:
        """Turn a request into tokens and settings.

        Raises: RequestError when the prompt does not leave room for an answer, or its form cannot be kept to.
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
        if options.grammar:
            # Compiled once, and kept: what cannot be kept to is refused before anything is queued.
            self._grammars.start(options.grammar)
        sampling = Sampling.of(options, self._model.defaults)
        return Work(tuple(prompt), sampling, limit, options.stop, options.n, options.grammar)

    def open_slot(self, turn: Turn) -> tuple[Chooser, Transcript]:
        """Make what chooses and what tells the tokens of one choice."""
        job, work = turn.job, turn.job.work
        grammar = self._grammars.start(work.grammar) if work.grammar else None
        transcript = Transcript(
            work, turn.index, job.emit, self._prompts.decode, self._spelling.spell, self._stop_tokens
        )
        return Chooser(work.sampling, work.prompt, grammar, turn.index), transcript
