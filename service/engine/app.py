"""The engine's HTTP side: OpenAI's endpoints, /health and /metrics over a scheduler and its worker.

A request is parsed, tokenised and admitted here; how its answer reaches the client is left to delivery.py.
"""

import asyncio
import time
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from service.config import Config
from service.engine.delivery import CLIENT_GONE, Answer, Inbox
from service.engine.errors import RequestError, unavailable
from service.engine.jobs import Job
from service.engine.metrics import render
from service.engine.protocol import ChatRequest, CompletionRequest, parse_chat, parse_completion
from service.engine.replies import Reply
from service.engine.scheduler import Scheduler
from service.engine.worker import Worker

# The web bounds what users send; JSON may spell a character in six bytes where they sent one.
BODY_FACTOR = 8


class Api:
    """The handlers of one engine."""

    def __init__(self, name: str, config: Config, scheduler: Scheduler, worker: Worker) -> None:
        self._name = name
        self._config = config
        self._scheduler = scheduler
        self._worker = worker
        self._created = int(time.time())

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
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._describe()]})

    async def model(self, request: Request) -> Response:
        self._require_model(request.path_params["name"])
        return JSONResponse(self._describe())

    def _describe(self) -> dict[str, Any]:
        return {"id": self._name, "object": "model", "created": self._created, "owned_by": "ferry"}

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, parse_chat(await self._read(request)))

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

    async def _answer(self, request: Request, parsed: ChatRequest | CompletionRequest) -> Response:
        self._require_model(parsed.model)
        if self._worker.answerer is None:
            raise unavailable("the model is being loaded", "loading")
        work = await asyncio.to_thread(self._worker.answerer.prepare, parsed)
        reply = Reply(self._name, isinstance(parsed, ChatRequest), parsed.options.include_usage)
        inbox = Inbox()
        user, conversation = (request.headers.get(f"x-ferry-{name}", "") for name in ("user", "conversation"))
        job = Job(work, user, conversation, inbox.put)
        self._scheduler.submit(job)
        answer = Answer(inbox, lambda: self._scheduler.withdraw(job), self._config.queue.timeout_s)
        if parsed.options.stream:
            return await answer.stream(request, reply)
        return await answer.whole(request, reply)

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
