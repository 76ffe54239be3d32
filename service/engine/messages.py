"""A conversation and the tools it may use: the JSON of `messages` and `tools` comes in, frozen values go out.

How they are shown to a model is left to prompts.py, how its calls are found in an answer to tool_calls.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.engine.errors import invalid
from service.engine.fields import flag, typed, wanted, whole_text
from service.engine.grammar import GrammarSpec
from service.engine.options import NAME, schema_text

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
MAX_TOOLS = 128
A_NAME = "a name of at most 64 letters, digits, - and _"


@dataclass(frozen=True)
class ToolCall:
    """A call of a function; `arguments` is the text of a JSON object, as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Message:
    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True)
class Tool:
    """A function that a model may call; `definition` is the JSON that its template shows."""

    name: str
    definition: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.definition["function"].get("parameters") or {"type": "object", "properties": {}}


@dataclass(frozen=True)
class ToolUse:
    """The tools of a request, and whether the answer has to be a call of one of them."""

    tools: tuple[Tool, ...] = ()
    is_forced: bool = False
    is_parallel: bool = True

    @property
    def grammar(self) -> GrammarSpec | None:
        """What follows a forced call's opening tag."""
        return GrammarSpec.of_tools({tool.name: tool.parameters for tool in self.tools}) if self.is_forced else None


NO_TOOLS = ToolUse()


def read_messages(fields: Mapping[str, Any]) -> tuple[Message, ...]:
    """Raises: RequestError."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wanted("messages", "a list with at least one message")
    called: set[str] = set()
    return tuple(_message(message, f"messages[{index}]", called) for index, message in enumerate(messages))


def _message(message: object, where: str, called: set[str]) -> Message:
    """Read one message; `called` are the calls so far, which a tool's message answers one of."""
    if not isinstance(message, dict):
        raise wanted(where, "an object with role and content")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise invalid(f"{where}.role: allowed: {', '.join(ROLES)}", f"{where}.role")
    if role == "tool" and message.get("tool_call_id") not in list(called):
        raise wanted(f"{where}.tool_call_id", "the id of a call in an earlier message of the assistant")
    calls = _tool_calls(message, where) if role == "assistant" else ()
    called.update(call.id for call in calls)
    content = message.get("content")
    is_call_alone = bool(calls) and content in (None, [])
    return Message(ROLES[role], "" if is_call_alone else _content(content, f"{where}.content"), calls)


def _content(content: object, where: str) -> str:
    """A text, or a list of text parts; what else the API knows (images, audio) this engine does not."""
    if isinstance(content, str):
        return whole_text(content, where)
    if isinstance(content, list) and content:
        return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))
    raise wanted(where, "a text or a list of text parts")


def _part(part: object, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return whole_text(part["text"], where)
    raise invalid(f'{where}: only parts of type "text" are possible with this model', where)


def _tool_calls(message: Mapping[str, Any], where: str) -> tuple[ToolCall, ...]:
    where += ".tool_calls"
    calls = typed(message, "tool_calls", list, "a list of calls", where) or []
    return tuple(_tool_call(call, f"{where}[{index}]") for index, call in enumerate(calls))


def _tool_call(call: object, where: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict) or not isinstance(call.get("id"), str):
        raise wanted(where, "an object with id and function")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        raise wanted(f"{where}.function.arguments", "the text of a JSON object")
    name = _name(function, f"{where}.function")
    return ToolCall(call["id"], name, whole_text(arguments, f"{where}.function.arguments"))


def read_tools(fields: Mapping[str, Any]) -> ToolUse:
    """Read `tools`, `tool_choice` and `parallel_tool_calls`. Raises: RequestError."""
    is_parallel = fields.get("parallel_tool_calls") is None or flag(fields, "parallel_tool_calls")
    listed = typed(fields, "tools", list, "a list of tools") or []
    if len(listed) > MAX_TOOLS:
        raise wanted("tools", f"a list of at most {MAX_TOOLS} tools")
    tools = tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(listed))
    choice = "auto" if fields.get("tool_choice") is None else fields["tool_choice"]
    if choice not in ("auto", "none") and not tools:
        raise invalid("tool_choice: only with tools", "tool_choice")
    if choice in ("auto", "none"):
        return ToolUse(tools if choice == "auto" else (), is_parallel=is_parallel)
    return ToolUse(_chosen(tools, choice), is_forced=True, is_parallel=is_parallel)


def _chosen(tools: Sequence[Tool], choice: object) -> tuple[Tool, ...]:
    if choice == "required":
        return tuple(tools)
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    if not isinstance(function, dict):
        raise wanted("tool_choice", "none, auto, required or an object with type and function")
    found = tuple(tool for tool in tools if tool.name == function.get("name"))
    if not found:
        raise wanted("tool_choice.function.name", "the name of one of the tools")
    return found


def _tool(tool: object, where: str) -> Tool:
    if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
        raise wanted(where, "an object with type = function and a function")
    function = tool["function"]
    name = _name(function, f"{where}.function")
    typed(function, "description", str, "a text", f"{where}.function.description")
    flag(function, "strict", f"{where}.function.strict")
    if function.get("parameters") is not None:
        schema_text(function["parameters"], f"{where}.function.parameters")
    shown = {key: function[key] for key in ("name", "description", "parameters") if function.get(key) is not None}
    whole_text(json.dumps(shown, ensure_ascii=False), where)
    return Tool(name, {"type": "function", "function": shown})


def _name(function: Mapping[str, Any], where: str) -> str:
    # Templates write it between quotation marks as it is.
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise wanted(f"{where}.name", A_NAME)
    return name
