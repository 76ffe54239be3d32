"""The OpenAI-compatible endpoints: a request with an API key goes to the engine, its answer comes back byte for byte.

Only what the engine cannot know is done here: who is asking, and what to say when it is away or lost in mid-stream.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from service.web import admission, history, rights, sse
from service.web.client_watch import watch_client
from service.web.engine_client import Answer, Cancel, Cancelled, EngineAway
from service.web.errors import Refusal
from service.web.meter import Meter, asking
from service.web.recording import Recording
from service.web.refusals import away, refusal_of
from service.web.request_body import json_object
from service.web.services import caller, services
from service.web.sse import BrokenStream, Ending

# What looks on while an answer is handed through.
Seen = tuple[Meter, Recording]
END_MARK = b"data: [DONE]\n\n"
blueprint = Blueprint("openai", __name__, url_prefix="/v1")
rights.declare(blueprint, rights.API)


@blueprint.get("/models")
def models() -> dict[str, Any]:
    try:
        return services().engine.models()
    except EngineAway as error:
        raise away(error) from error


@blueprint.get("/models/<path:name>")
def model(name: str) -> dict[str, Any]:
    for known in models().get("data", ()):
        if name in {known.get("id"), "default"}:
            return dict(known)
    raise Refusal(404, "model_not_found", f"There is no model {name}.")


@blueprint.post("/chat/completions")
def chat_completions() -> Response:
    body = json_object()
    messages = body.get("messages")
    if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
        body["messages"] = history.with_system_prompt(messages, services().config.engine.system_prompt)
    return _forward("chat/completions", body)


@blueprint.post("/completions")
def completions() -> Response:
    return _forward("completions", json_object())


def _forward(path: str, body: dict[str, Any]) -> Response:
    admission.demand(endpoint=path, key=caller().key_id)
    body = _bounded(body)
    # Our own engine tells its count to everybody, in llama-server's way.
    more = None if services().engine.is_local else asking(body)
    meter = Meter(request.content_length or len(json.dumps(body)), is_asked=more is not None)
    who = {"user": caller().name, "address": request.remote_addr or "", "key": caller().key_id}
    recording = Recording(services().audit, path, body, **who)
    cancel = Cancel()
    stop_watch = watch_client(request.environ, cancel.set)
    try:
        answer = services().engine.post(path, more or body, caller().quota_id, cancel)
        return _passed_on(answer, body.get("stream") is True, (meter, recording), stop_watch)
    except Cancelled:
        stop_watch()
        services().usage.charge(caller(), meter.tokens)
        recording.end("stopped", meter.prompt_tokens)
        return Response(status=499)
    except EngineAway as error:
        stop_watch()
        refusal = away(error)
        recording.end("refused", reason=refusal.code)
        raise refusal from error
    except BaseException as error:
        stop_watch()
        recording.end("refused", reason=error.code if isinstance(error, Refusal) else "")
        raise


def _bounded(body: dict[str, Any]) -> dict[str, Any]:
    """Hold a request to the length of an answer that the administration page sets; the engine knows the file's."""
    if not services().settings.is_set("engine.max_new_tokens"):
        return body
    most = services().config.engine.max_new_tokens
    names = [name for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None] or ["max_tokens"]
    wishes = {name: body.get(name, most) for name in names}
    return {**body, **{name: most if _is_beyond(wish, most) else wish for name, wish in wishes.items()}}


def _is_beyond(wish: object, most: int) -> bool:
    return isinstance(wish, int) and not isinstance(wish, bool) and wish > most


def _passed_on(answer: Answer, is_stream: bool, seen: Seen, stop_watch: Callable[[], None]) -> Response:
    """Hand the engine's answer on. One without a stream is read first, so that a loss still has a status code."""
    if answer.status != 200:
        raise refusal_of(answer)
    known, who = services(), caller()
    meter, recording = seen
    state = {"outcome": "stopped"}
    is_stream = is_stream and answer.is_stream
    body = _stream(answer, seen, state) if is_stream else [_whole(answer, seen, state)]
    response = Response(body, mimetype="text/event-stream" if is_stream else "application/json")
    response.headers["X-Accel-Buffering"] = "no"
    known.metrics.add("ferry_web_streams")

    @response.call_on_close
    def close() -> None:
        stop_watch()
        answer.close()
        known.metrics.add("ferry_web_streams", by=-1)
        known.metrics.add("ferry_web_chats_total", f'outcome="{state["outcome"]}"')
        known.usage.charge(who, meter.tokens)
        recording.end(state["outcome"], meter.prompt_tokens, meter.answer_tokens)

    return response


def _whole(answer: Answer, seen: Seen, state: dict[str, str]) -> bytes:
    """Read an answer that is no stream. Raises: Refusal when it is not even JSON, a proxy's page say."""
    try:
        data = answer.read()
        body = sse.json_object(data)
        seen[0].read(body, len(data))
        seen[1].read(body)
    except BrokenStream as error:
        answer.close()
        raise Refusal(502, "engine_error", f"The model's server gave no answer: {error}.") from error
    except BaseException:
        answer.close()
        raise
    state["outcome"] = "complete"
    return data


def _stream(answer: Answer, seen: Seen, state: dict[str, str]) -> Iterator[bytes]:
    """Hand the stream on as it comes, comments and errors too; an end without its mark gets what is missing."""
    ending, (meter, recording) = Ending(), seen
    try:
        for chunk in answer.chunks():
            ending.feed(chunk)
            recording.feed(chunk)
            # Before it is handed on: a client may leave as soon as it has read the mark.
            state["outcome"] = _outcome(ending) or state["outcome"]
            if kept := meter.feed(chunk):
                yield kept
    except Cancelled:
        return
    except EngineAway as error:
        state["outcome"] = "failed"
        yield meter.close() + _error_event(str(error))
        return
    ending.close()
    if rest := meter.close():
        yield rest
    if not (ending.is_marked or ending.has_error):
        # Some servers forget the mark, and clients wait for it.
        yield b"\n\n" + END_MARK if ending.has_reason else _error_event("the answer broke off before its end")
    state["outcome"] = _outcome(ending) or ("complete" if ending.has_reason else "failed")


def _outcome(ending: Ending) -> str:
    return "failed" if ending.has_error else "complete" if ending.is_marked else ""


def _error_event(message: str) -> bytes:
    return b"\n\ndata: " + json.dumps(Refusal(503, "engine_away", message).body()).encode() + b"\n\n"
