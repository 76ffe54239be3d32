"""The official Python client against the same servers: what its users write, and what it makes of our errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx2
import openai
import pytest
from conformance_target import QUESTION, TOOL, Target
from pydantic import BaseModel

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
SOON: dict[str, Any] = {"max_tokens": 200, "frequency_penalty": 2, "temperature": 0}
TOOLS: Any = [TOOL]


class City(BaseModel):
    name: Literal["Paris", "Rome"]
    is_capital: bool


def client_for(target: Target) -> openai.OpenAI:
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=target.socket))
    key = target.key or "none"
    base, timeout = f"{target.root}/v1", target.patience_s
    return openai.OpenAI(api_key=key, base_url=base, http_client=http, max_retries=0, timeout=timeout)


@pytest.fixture
def client(target: Target) -> Iterator[openai.OpenAI]:
    with client_for(target) as made:
        yield made


def test_python_client_chats(target: Target, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=target.model, messages=MESSAGES, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content and answer.choices[0].message.role == "assistant"
    assert answer.usage and answer.usage.prompt_tokens_details
    assert answer.usage.prompt_tokens_details.cached_tokens is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_python_client_streams_with_usage(target: Target, client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": target.model, "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**asked)
    *chunks, last = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert last.usage and whole.usage and last.usage.total_tokens == whole.usage.total_tokens


def test_python_client_puts_a_stream_together_by_itself(target: Target, client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": target.model, "messages": MESSAGES, "response_format": City, "logprobs": True}
    with client.chat.completions.stream(**asked, **SOON) as stream:
        kinds = {event.type for event in stream}
        completion = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done", "logprobs.content.done"} <= kinds
    assert isinstance(completion.choices[0].message.parsed, City)


def test_python_client_reads_logprobs(target: Target, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model=target.model, messages=MESSAGES, max_tokens=4, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs and logprobs.content and all(len(token.top_logprobs) == 2 for token in logprobs.content)


def test_python_client_parses_an_answer_into_a_class(target: Target, client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model=target.model, messages=MESSAGES, response_format=City, **SOON)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_python_client_parses_a_tools_arguments(target: Target, client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(City, name="show_city")
    answer = client.chat.completions.parse(
        model=target.model, messages=MESSAGES, tools=[tool], tool_choice="required", **SOON
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, City)


def test_python_client_sends_a_call_and_its_result_back(target: Target, client: openai.OpenAI) -> None:
    options: dict[str, Any] = {"model": target.model, "tools": TOOLS, **SOON}
    first = client.chat.completions.create(messages=MESSAGES, tool_choice="required", **options).choices[0].message
    (call,) = first.tool_calls or ()
    assert call.type == "function" and set(json.loads(call.function.arguments)) == {"on", "room"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "done"}
    messages: Any = [*MESSAGES, first.model_dump(exclude_none=True), result]
    assert client.chat.completions.create(messages=messages, **options | {"max_tokens": 2}).choices


def test_python_client_completes_and_lists(target: Target, client: openai.OpenAI) -> None:
    completion = client.completions.create(model=target.model, prompt="The sea", max_tokens=4, logprobs=1)
    logprobs = completion.choices[0].logprobs
    assert logprobs and logprobs.tokens and len(logprobs.tokens) <= 4
    chunks = list(client.completions.create(model=target.model, prompt="The sea", max_tokens=4, stream=True))
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    assert target.model in [model.id for model in client.models.list()]


def test_python_client_raises_its_own_errors(target: Target, client: openai.OpenAI) -> None:
    create: Any = client.chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(model=target.model, messages=MESSAGES, temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="no-such-model", messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        create(model=target.model, messages=[{"role": "user", "content": "too long " * 9000}])
    assert long.value.code == "context_length_exceeded"


def test_python_client_leaves_a_stream_and_goes_on(target: Target, client: openai.OpenAI) -> None:
    for _ in range(20):
        stream = client.chat.completions.create(model=target.model, messages=MESSAGES, max_tokens=400, stream=True)
        next(iter(stream))
        stream.close()
    assert client.chat.completions.create(model=target.model, messages=MESSAGES, max_tokens=1).choices


def test_python_client_cancels_what_it_awaits(target: Target) -> None:
    async def ask() -> int:
        http = httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=target.socket))
        key = target.key or "none"
        base = f"{target.root}/v1"
        async with openai.AsyncOpenAI(api_key=key, base_url=base, http_client=http, max_retries=0) as client:
            create: Any = client.chat.completions.create
            asked = [create(model=target.model, messages=MESSAGES, max_tokens=400) for _ in range(6)]
            tasks = [asyncio.ensure_future(one) for one in asked]
            await asyncio.sleep(0.1)
            for task in tasks[1:]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            return sum(not isinstance(result, BaseException) for result in done)

    assert asyncio.run(ask()) >= 1
