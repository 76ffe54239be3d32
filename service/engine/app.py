"""The engine's HTTP side: OpenAI's endpoints, /health and /metrics over a scheduler and its worker.

A request is parsed, tokenised and admitted here; how its answer reaches the client is left to delivery.py.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.config import Config
from service.engine.admission import Admission, Client
from service.engine.choices import Choices
from service.engine.delivery import CLIENT_GONE, Answer
from service.engine.errors import RequestError, unavailable
from service.engine.metrics import render, render_memory
from service.engine.protocol import ChatRequest, CompletionRequest, parse_chat, parse_completion
from service.engine.replies import Reply
from service.engine.scheduler import Scheduler
from service.engine.worker import Worker

# The web bounds what users send; JSON may spell a character in six bytes where they sent one.
BODY_FACTOR = 8
# So many requests are read into tokens at once. Each thread has memory of malloc's to itself that it never gives back.
READING = 2


class Api:
    """The handlers of one engine."""

    def __init__(self, name: str, config: Config, scheduler: Scheduler, worker: Worker) -> None:
        self._name = name
        self._config = config
        self._scheduler = scheduler
        self._worker = worker
        self._created = int(time.time())
        self._readers = ThreadPoolExecutor(READING, "reader")
        # What the same seed gives the same text under: the model and its precision.
        self._fingerprint = f"fp_{hashlib.sha256(f'{name} {config.engine.precision}'.encode()).hexdigest()[:12]}"

    async def health(self, _: Request) -> Response:
        if self._worker.failure:
            return JSONResponse({"status": "failed", "reason": self._worker.failure}, 503)
        if self._worker.answerer is None:
            return JSONResponse({"status": "loading", "reason": "the model is being loaded"}, 503)
        load = {"running": self._scheduler.running, "waiting": self._scheduler.waiting}
        context = {"context_tokens": self._worker.answerer.context_tokens}
        return JSONResponse({"status": "ok", "model": self._name, **context, **load})

    async def metrics(self, _: Request) -> Response:
        text = render(self._name, self._scheduler.running, self._scheduler.waiting, self._worker.counters)
        return PlainTextResponse(text + render_memory(), media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._describe()]})

    async def model(self, request: Request) -> Response:
        self._require_model(request.path_params["name"])
        return JSONResponse(self._describe())

    def _describe(self) -> dict[str, Any]:
        """OpenAI's fields, and the size of the context as vLLM (max_model_len) and llama-server (meta) tell it."""
        answerer = self._worker.answerer
        size = answerer.context_tokens if answerer else self._config.engine.context_tokens
        head = {"id": self._name, "object": "model", "created": self._created, "owned_by": "ferry"}
        return {**head, "context_length": size, "max_model_len": size, "meta": {"n_ctx": size}}

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, [parse_chat(await self._read(request))])

    async def completion(self, request: Request) -> Response:
        return await self._answer(request, parse_completion(await self._read(request)))

    async def _read(self, request: Request) -> bytes:
        limit = self._config.web.max_body_kib * 1024 * BODY_FACTOR
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise RequestError(413, f"the body is larger than {limit} bytes", "body_too_large")
        return bytes(body)

    async def _answer(self, request: Request, parsed: Sequence[ChatRequest | CompletionRequest]) -> Response:
        first, options = parsed[0], parsed[0].options
        self._require_model(first.model)
        if self._worker.answerer is None:
            raise unavailable("the model is being loaded", "loading")
        loop, prepare = asyncio.get_running_loop(), self._worker.answerer.prepare
        works = [await loop.run_in_executor(self._readers, prepare, one) for one in parsed]
        tool_use = first.tool_use if isinstance(first, ChatRequest) else None
        client = Client.of(request.headers)
        admission = Admission(self._scheduler, works, client, self._config.queue.timeout_s)
        reply = Reply(
            self._name,
            isinstance(first, ChatRequest),
            options.include_usage,
            bool(tool_use and tool_use.tools),
            self._fingerprint,
        )
        answer = Answer(admission.events(), admission.withdraw)
        deliver = answer.stream if options.stream else answer.whole
        return await deliver(request, reply, Choices(len(works) * options.n, tool_use))

    def _require_model(self, name: str) -> None:
        if name not in (self._name, "default"):
            message = f"the model {name!r} does not exist; available: {self._name}, default"
            raise RequestError(404, message, "model_not_found", "model")


async def _explain(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse(error.body, error.status, headers=dict(error.headers))


async def _explain_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail.lower()}"
    return await _explain(request, RequestError(error.status_code, message, headers=error.headers or {}))


async def _explain_bug(request: Request, _: Exception) -> Response:
    return await _explain(
        request, RequestError(500, "the engine made a mistake; its journal says more", "engine_failed")
    )


async def _ignore_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


def create_app(name: str, config: Config, scheduler: Scheduler, worker: Worker) -> Starlette:
    """Put the handlers on their paths."""
    api = Api(name, config, scheduler, worker)
    return Starlette(
        routes=[
            Route("/health", api.health),
            Route("/metrics", api.metrics),
            Route("/v1/models", api.models),
            Route("/v1/models/{name:path}", api.model),
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1/completions", api.completion, methods=["POST"]),
        ],
        exception_handlers={
            RequestError: _explain,
            HTTPException: _explain_http,
            ClientDisconnect: _ignore_gone,
            Exception: _explain_bug,
        },
    )
