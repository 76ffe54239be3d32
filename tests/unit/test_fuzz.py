"""A short round of what `make fuzz` does at length: seeds and their mutations, at random but the same each time."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from fuzz import seeds
from fuzz.parsers import PARSERS, Parser, RefusedError, named

MUTATIONS = 150
TOKENS = (
    b"",
    b"\0",
    b"\xff" * 4,
    b"0",
    b"-1",
    b"1e999",
    b"9" * 30,
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\n",
    b"\r\n",
    b"../",
    b"/",
)
BROKEN = Parser("broken", lambda: iter([b"x"]), lambda data: {}[data])


# What `make fuzz` found, in its smallest form.
FOUND = {
    "the name of a wheel's member clears the screen": (
        "wheel",
        lambda: b"small/\x1b[2Jx.py".join(next(seeds.wheel()).rsplit(b"small/other.py", 1)),
    ),
    "a wheel says that only a newer reader can read it": (
        "wheel",
        lambda: next(seeds.wheel()).replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\x54"),
    ),
    "a table in config.json has a name that cannot be shown": ("model configs", lambda: b'{"a\x7f": {"b": 1}}'),
}


def mutated(data: bytes, chosen: random.Random) -> bytes:
    """Change a few places: flip a bit, cut, repeat, or put in what parsers trip over."""
    changed = bytearray(data)
    for _ in range(chosen.choice((1, 1, 2, 4, 16))):
        start = chosen.randrange(len(changed) + 1)
        stop = start + chosen.choice((0, 1, 2, 8, 64, 600))
        kind = chosen.randrange(4)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << chosen.randrange(8)
        elif kind == 1:
            del changed[start:stop]
        elif kind == 2:
            changed[start:start] = changed[start:stop]
        else:
            changed[start:stop] = chosen.choice(TOKENS)
    return bytes(changed)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_parser_takes_or_refuses_whatever_it_gets(parser: Parser) -> None:
    chosen, refused, taken = random.Random(parser.name), 0, 0
    for seed in [*parser.seeds(), b""]:
        for data in [seed, *(mutated(seed, chosen) for _ in range(MUTATIONS))]:
            try:
                parser.feed(data)
                taken += 1
            except RefusedError as refusal:
                refused += 1
                assert str(refusal)
    assert taken > 0, "no seed is good: nothing behind the first check was tried"
    assert refused > 0


def test_any_other_error_is_a_fault() -> None:
    with pytest.raises(KeyError):
        BROKEN.feed(b"x")


@pytest.mark.parametrize("case", FOUND)
def test_what_the_fuzzer_found_stays_mended(case: str) -> None:
    name, made = FOUND[case]
    with suppress(RefusedError):
        named(name).feed(made())
