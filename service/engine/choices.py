"""What has come of the answers to one request: the engine's events come in, the parts that a client is told go out."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from service.engine.jobs import Ended, Event, Piece, TokenLogprob
from service.engine.messages import ToolCall, ToolUse
from service.engine.tool_calls import CallFinder


@dataclass
class Choice:
    """One of the answers. `told` and `told_length` count the logprobs that went out already, and their characters."""

    index: int
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reason: str = ""
    told: int = 0
    told_length: int = 0

    @property
    def length(self) -> int:
        """Count the characters of the tokens that have logprobs."""
        return self.told_length + sum(len(token.text) for token in self.logprobs[self.told :])


@dataclass(frozen=True)
class NumberedCall:
    """A call of a tool, and how many came before it in the same answer."""

    number: int
    call: ToolCall


Part = str | NumberedCall | Ended


class Choices:
    """The answers to one request."""

    def __init__(self, count: int, tool_use: ToolUse | None = None) -> None:
        self.all = [Choice(index) for index in range(count)]
        names = [tool.name for tool in tool_use.tools] if tool_use else []
        is_open = bool(tool_use and tool_use.is_forced)
        self._finders = [CallFinder(names, is_open) for _ in self.all] if names else []

    def note(self, item: Event) -> Iterator[tuple[Choice, Part]]:
        """Take an event in; yield what it brings of which answer."""
        if isinstance(item, Piece):
            choice = self.all[item.index]
            choice.logprobs += item.logprobs
            yield from self._parts(choice, self._finders[item.index].push(item.text) if self._finders else [item.text])
        elif isinstance(item, Ended):
            choice = self.all[item.index]
            if self._finders:
                yield from self._parts(choice, self._finders[item.index].flush())
            choice.reason = "tool_calls" if choice.calls and item.reason == "stop" else item.reason
            yield choice, Ended(item.index, choice.reason)

    def _parts(self, choice: Choice, found: Iterator[str | ToolCall] | list[str]) -> Iterator[tuple[Choice, Part]]:
        for part in found:
            if isinstance(part, ToolCall):
                choice.calls.append(part)
                yield choice, NumberedCall(len(choice.calls) - 1, part)
            elif part:
                choice.text += part
                yield choice, part
