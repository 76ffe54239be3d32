"""Python source without its comments and docstrings, line for line: every delta carries the installer.

A source comes in, one that compiles to the same code goes out, docstrings apart. Lines keep their numbers, so that
tracebacks fit the sources as they are published.
"""

import ast
import io
import tokenize


def slim(source: bytes) -> bytes:
    """Return the source without comments and docstrings.

    Raises:
        SyntaxError: it is no Python.
    """
    lines = io.StringIO(source.decode()).readlines()
    for first, start, last, end in sorted(_docstrings(source), reverse=True):
        _cut(lines, first, start, last, end)
    for token in tokenize.generate_tokens(io.StringIO("".join(lines)).readline):
        if token.type == tokenize.COMMENT:
            row = token.start[0] - 1
            lines[row] = lines[row][: token.start[1]].rstrip() + "\n"
    return "".join(lines).encode()


def _docstrings(source: bytes) -> list[tuple[int, int, int, int]]:
    """Return where each stands: first row and column, last row and column; rows from 0, columns in characters."""
    found = []
    text = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            rows = first.lineno - 1, (first.end_lineno or first.lineno) - 1
            columns = (
                len(text[rows[0]][: first.col_offset].decode()),
                len(text[rows[1]][: first.end_col_offset].decode()),
            )
            found.append((rows[0], columns[0], rows[1], columns[1]))
    return found


def _cut(lines: list[str], first: int, start: int, last: int, end: int) -> None:
    rest = lines[last][end:]
    if first == last:
        lines[first] = lines[first][:start] + '""' + rest
        return
    lines[first] = lines[first][:start] + '"""\n'
    lines[first + 1 : last] = ["\n"] * (last - first - 1)
    lines[last] = '"""' + rest
