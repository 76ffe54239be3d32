"""What a stranger's JSON schema may cost: a schema comes in, and what is too large in it goes out, if anything.

llguidance bounds its own work, except where it makes room for what a number in the schema says before it looks at its
limits. Those numbers are bounded here.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

# Measured on one core, without these bounds: 6,000 required names compile in 0.9 s, 1,800 optional ones are refused at
# the second token, a `const` of 32,000 letters costs 0.03 s for each token (one of 4,000 0.01 s), and `minItems` or
# `maxItems` of a thousand million ends the process for want of memory.
MAX_TEXT = 32_768
MAX_STRING = 4_096
MAX_NAMES = 450
MAX_ITEMS = 10_000
# A number's remainder is followed digit by digit in as many states: a prime of 1,000,000 takes 18 s.
MAX_MULTIPLE = 10_000
MAX_DIGITS = 20


def find_excess(text: str, schema: Mapping[str, Any]) -> str:
    """Say what in a schema, given as text too, asks for more than one request may have; nothing if all is well."""
    if len(text) > MAX_TEXT:
        return f"the schema has {len(text)} characters; at most {MAX_TEXT} are possible"
    values = [*_values(schema)]
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    if longest > MAX_STRING:
        return f"a text in the schema has {longest} characters; at most {MAX_STRING} are possible"
    nodes = [value for value in values if isinstance(value, dict)]
    names = max(_count(node, name) for node in nodes for name in ("properties", "required"))
    if names > MAX_NAMES:
        return f"an object has {names} properties; at most {MAX_NAMES} are possible"
    items = sum(_number(node, name) for node in nodes for name in ("minItems", "maxItems"))
    if items > MAX_ITEMS:
        return f"minItems and maxItems add up to {items:g}; at most {MAX_ITEMS} are possible"
    multiples = [Decimal(str(number)) for node in nodes if (number := _number(node, "multipleOf"))]
    if _count_states(multiples) > MAX_MULTIPLE:
        return f"multipleOf: the numbers' sum or common multiple, counted in their last digit, is above {MAX_MULTIPLE}"
    return ""


def _values(schema: Any) -> Iterator[Any]:
    """Yield every value in a schema, itself first."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _number(node: Mapping[str, Any], name: str) -> float:
    """Return the size of a number. A property may have such a name too: then none stands there."""
    value = node.get(name)
    return abs(value) if isinstance(value, int | float) else 0


def _count(node: Mapping[str, Any], name: str) -> int:
    value = node.get(name)
    return len(value) if isinstance(value, dict | list) else 0


def _count_states(multiples: list[Decimal]) -> int:
    """Return how many states these numbers take: each alone and, as `allOf` may join them, all together."""
    if not all(value.is_finite() and abs(value.adjusted()) < MAX_DIGITS for value in multiples):
        return MAX_MULTIPLE + 1
    decimals = [max(0, -int(value.as_tuple().exponent)) for value in multiples]
    alone = sum(_scale(value, count) for value, count in zip(multiples, decimals, strict=True))
    together = math.lcm(*(_scale(value, max(decimals)) for value in multiples))
    return max(alone, together)


def _scale(value: Decimal, decimals: int) -> int:
    return int(Fraction(value) * 10**decimals)


def move_refs(schema: Any, place: str) -> Any:
    """Return a schema for another `place` than the root: its references to itself lead there."""
    if isinstance(schema, list):
        return [move_refs(item, place) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved = {key: move_refs(value, place) for key, value in schema.items()}
    target = moved.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        moved["$ref"] = place + target[1:]
    return moved
