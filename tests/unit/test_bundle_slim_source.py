"""Sources without comments and docstrings: the same code on the same lines."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

import pytest

from bundle import installer_zip
from bundle.slim_source import slim

SOURCE = '''\
#!/usr/bin/env python3
"""A module.

With more lines: é "quoted" # no comment
"""
import os  # for nothing


class A:
    """One line."""


def f(x: str = "# kept") -> str:
    r"""A docstring
    of two lines."""; y = 1  # why
    # a comment alone
    return f"{x} # kept too {y}"


async def g():
    "only this"
'''


def lines_of(source: bytes) -> list[tuple[str, int]]:
    return [(type(node).__name__, node.lineno) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]


def test_the_code_and_its_line_numbers_stay() -> None:
    made = slim(SOURCE.encode())
    assert without(made.decode()) == without(SOURCE)
    assert lines_of(made) == lines_of(SOURCE.encode())
    assert b"why" not in made and b"of two lines" not in made and b"# kept too" in made


def without(source: str) -> str:
    """Return the source with every docstring emptied, by way of its tree."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                first.value.value = ""
    return ast.unparse(tree)


@pytest.mark.parametrize("name", installer_zip.LIBRARIES)
def test_the_libraries_stay_what_they_are(name: str) -> None:
    files = [Path(str(file.locate())) for file in metadata.distribution(name).files or [] if file.suffix == ".py"]
    sources = [path.read_bytes() for path in files if path.is_file()]
    assert sources
    for source in sources:
        made = slim(source)
        assert without(made.decode()) == without(source.decode())
        assert lines_of(made) == lines_of(source)
        assert slim(made) == made
