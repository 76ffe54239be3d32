"""Collect every error message that the server's side can print, out of its sources: docs/errors.md explains them.

In: a checkout. Out: a `Message` for each text that an error can have: the exit status (0 for an answer over HTTP), and
its first line, with `…` for what only the moment knows. What a function is given and puts into an error is followed to
where it is called, and what a variable holds to where it is set.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shell_messages import GAP, carried_shell_messages, shell_messages

FOLDERS = ("installer", "checksums", "service")
EXIT_CODES = {
    "FerryError": 1,
    "ProcessError": 1,
    "AdminError": 1,
    "AuditUnavailable": 1,
    "EngineError": 1,
    "SocketError": 1,
    "Busy": 1,
    "UsageError": 2,
    "ConfigError": 2,
    "PathsError": 2,
    "IntegrityError": 3,
    "HostError": 4,
    "HealthError": 5,
    "EngineAway": 0,
    "BrokenAnswer": 0,
    "BrokenStream": 1,
    "present": 1,  # service.web.admin: what the database says
    "Problem": 3,
    "Difference": 3,
    "Refusal": 0,
    "RequestError": 0,
}
# Where the text stands: an answer over HTTP begins with its status, in the web with a code too.
TEXT_AT = {"Refusal": 2, "RequestError": 1, "ProcessError": -1, "Problem": 1, "Difference": 1}
# Functions that yield problems, which an error of this exit status then lists.
LISTED = {("service/config.py", f"_{name}problems"): 2 for name in ("", "web_", "ldap_", "section_")}
# The parameters that hold a message, or the end of one. Others hold the name of a thing.
FOLLOWED = frozenset({"complaint", "message", "problem", "reasons", "text", "what", "why"})
MANY = 64


@dataclass(frozen=True, order=True)
class Message:
    """The exit status, the text with its gaps, and where it is made."""

    exit_code: int
    text: str
    place: str


@dataclass(frozen=True)
class Scope:
    """A function, or a module's top, and the module that it stands in."""

    module: str
    node: ast.AST
    name: str = ""
    parameters: tuple[str, ...] = ()
    defaults: int = 0


Calls = dict[str, list[tuple[Scope, ast.Call]]]


class Sources:
    """The parsed modules of a checkout, and who calls what."""

    def __init__(self, root: Path) -> None:
        self.root = root
        files = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]
        self.trees = {path.relative_to(root).as_posix(): ast.parse(path.read_text()) for path in files}
        self.constants = dict(self._constants())
        self.calls: Calls = {}
        for scope, call in self._calls():
            self.calls.setdefault(_called(call), []).append((scope, call))

    def _constants(self) -> Iterator[tuple[str, str]]:
        for node in (node for tree in self.trees.values() for node in tree.body if isinstance(node, ast.Assign)):
            for name in {target.id for target in ast.walk(node) if isinstance(target, ast.Name)}:
                for value in _assigned(node, name):
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield name, value.value

    def _calls(self) -> Iterator[tuple[Scope, ast.Call]]:
        for module, tree in self.trees.items():
            yield from _calls_in(Scope(module, tree), tree)

    def messages(self) -> Iterator[Message]:
        """Yield what each call of an error's class says."""
        for name, code in EXIT_CODES.items():
            for scope, call in self.calls.get(name, []):
                place = f"{scope.module}:{call.lineno}"
                for text in self._texts_of(scope, call, name):
                    yield Message(_exit_code(call, name, code), text, place)

        for scope, call in self.calls.get("__init__", []):
            for text in self._of_a_class(scope, call):
                yield Message(EXIT_CODES["ProcessError"], text, f"{scope.module}:{call.lineno}")
        for (module, name), code in LISTED.items():
            yield from self._listed(module, name, code)

    def _of_a_class(self, scope: Scope, call: ast.Call) -> list[str]:
        """Return what an error's class says by itself, where it makes its own message."""
        is_own = scope.name == "__init__" and "message" not in scope.parameters and call.args
        found = self.texts(scope, call.args[0]) if is_own else []
        return [text.partition("\n")[0] for text in found if len(text) > len("…: …\n…")]

    def _listed(self, module: str, name: str, code: int) -> Iterator[Message]:
        for function in _functions(self.trees[module], name) if module in self.trees else ():
            for node in ast.walk(function):
                if isinstance(node, ast.Yield) and node.value is not None:
                    for text in self.texts(Scope(module, function, name), node.value):
                        yield Message(code, f"{GAP}: {text}", f"{module}:{node.lineno}")

    def _texts_of(self, scope: Scope, call: ast.Call, name: str) -> Iterator[str]:
        found = _argument(call, TEXT_AT.get(name, 0), "message")
        if found is None:
            return
        for text in self.texts(scope, found):
            first = text.partition("\n")[0].strip()
            if re.search(r"[^\W\d_]{2}", first.replace(GAP, "")):
                yield first

    def texts(self, scope: Scope, node: ast.expr, depth: int = 0) -> list[str]:
        """Return what an expression can be, as far as the sources tell."""
        if depth > 6:
            return [GAP]
        further = depth + 1
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            return self._joined([self.texts(scope, part, further) for part in node.values])
        if isinstance(node, ast.FormattedValue):
            return [GAP] if node.format_spec or node.conversion != -1 else self.texts(scope, node.value, further)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([self.texts(scope, node.left, further), self.texts(scope, node.right, further)])
        if isinstance(node, ast.IfExp):
            return [*self.texts(scope, node.body, further), *self.texts(scope, node.orelse, further)]
        if isinstance(node, ast.BoolOp):
            return [text for value in node.values for text in self.texts(scope, value, further)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
            return self._of_join(scope, node, further)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("_"):
            return self._returned(scope, node.func.id, further)
        if isinstance(node, ast.Name):
            return self._of_name(scope, node.id, further)
        if isinstance(node, ast.Attribute) and node.attr.isupper():
            return [self.constants.get(node.attr, GAP)]
        return [GAP]

    def _joined(self, parts: list[list[str]]) -> list[str]:
        joined = ("".join(words) for words in itertools.islice(itertools.product(*parts), MANY))
        return [re.sub(f"{GAP}+", GAP, text) for text in joined]

    def _of_join(self, scope: Scope, call: ast.Call, depth: int) -> list[str]:
        """Return what a joined list begins with; each of its parts has a line of its own."""
        listed = call.args[0] if call.args else None
        if isinstance(listed, (ast.GeneratorExp, ast.ListComp)):
            return self.texts(scope, listed.elt, depth)
        if isinstance(listed, ast.List):
            heads = [self.texts(scope, part, depth) for part in listed.elts if not isinstance(part, ast.Starred)]
            return [text for texts in heads for text in texts] or [GAP]
        if isinstance(listed, ast.Name):
            return self._appended(scope, listed.id, depth) or [GAP]
        return [GAP]

    def _appended(self, scope: Scope, name: str, depth: int) -> list[str]:
        """Return what is put into a list of a function's, or of an object's."""
        found: list[str] = []
        for caller, value in self._givers(scope, name) if name in scope.parameters else ():
            if isinstance(value, ast.Name):
                found += self._appended(caller, value.id, depth + 1)
        for value in _assigned(scope.node, name):
            found += self.texts(scope, value.elt, depth) if isinstance(value, ast.ListComp) else []
        for node in ast.walk(scope.node):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{name}.append":
                found += self.texts(scope, node.args[0], depth)
        return found

    def _of_name(self, scope: Scope, name: str, depth: int) -> list[str]:
        if name in scope.parameters:
            return self._given(scope, name, depth) or [GAP]
        found = [text for value in _assigned(scope.node, name) for text in self.texts(scope, value, depth)]
        if found:
            return found
        return [self.constants[name]] if name in self.constants and name.isupper() else [GAP]

    def _given(self, scope: Scope, name: str, depth: int) -> list[str]:
        """Return what a function's callers give it."""
        return [text for caller, value in self._givers(scope, name) for text in self.texts(caller, value, depth)]

    def _givers(self, scope: Scope, name: str) -> Iterator[tuple[Scope, ast.expr]]:
        """Yield what a function is called with, where that is a message, and who calls it."""
        at = scope.parameters.index(name) - (1 if scope.parameters[0] in {"self", "cls"} else 0)
        for caller, call in self.calls.get(scope.name, []) if name in FOLLOWED else ():
            value = _argument(call, at, name)
            if value is not None and caller.node is not scope.node and self._is_meant(caller, call, scope):
                yield caller, value

    def _returned(self, scope: Scope, name: str, depth: int) -> list[str]:
        """Return what a function of the same module returns."""
        found = []
        for function in _functions(self.trees[scope.module], name):
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    found += self.texts(Scope(scope.module, function, name), node.value, depth)
        return found or [GAP]

    def _is_meant(self, caller: Scope, call: ast.Call, called: Scope) -> bool:
        """Tell whether a call by this name is one of this function, and not of another of the same name."""
        if caller.module == called.module:
            return True
        if called.name.startswith("_"):
            return False
        stem = Path(called.module).stem
        if isinstance(call.func, ast.Attribute):
            return isinstance(call.func.value, ast.Name) and call.func.value.id == stem
        dotted = called.module.removesuffix(".py").replace("/", ".")
        return any(
            isinstance(node, ast.ImportFrom) and node.module == dotted and called.name in {a.name for a in node.names}
            for node in ast.walk(self.trees[caller.module])
        )


def collect(root: Path) -> list[Message]:
    """Return every message of a checkout, each text once for an exit status."""
    shell = (*shell_messages(root / "installer" / "install.sh"), *carried_shell_messages(root))
    found = [*sources(root).messages(), *(Message(*said) for said in shell)]
    first: dict[tuple[int, str], Message] = {}
    for message in sorted(found):
        first.setdefault((message.exit_code, message.text), message)
    return list(first.values())


@cache
def sources(root: Path) -> Sources:
    return Sources(root)


def exceptions(root: Path) -> list[str]:
    """Return the names of the exceptions that a checkout's modules define."""
    nodes = [node for tree in sources(root).trees.values() for node in ast.walk(tree)]
    bases = {node.name: {ast.unparse(base) for base in node.bases} for node in nodes if isinstance(node, ast.ClassDef)}
    found = {"Exception"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return sorted(found - {"Exception"})


def _functions(tree: ast.AST, name: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)


def _calls_in(scope: Scope, node: ast.AST) -> Iterator[tuple[Scope, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = child.args
            names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
            inner = Scope(scope.module, child, child.name, tuple(names))
        if isinstance(child, ast.Call):
            yield scope, child
        yield from _calls_in(inner, child)


def _called(call: ast.Call) -> str:
    function = call.func
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def _argument(call: ast.Call, at: int, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[at] if 0 <= at < len(call.args) and not isinstance(call.args[at], ast.Starred) else None


def _assigned(node: ast.AST, name: str) -> Iterator[ast.expr]:
    for child in ast.walk(node):
        if isinstance(child, ast.Assign):
            for target in child.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    yield child.value
                if isinstance(target, ast.Tuple) and isinstance(child.value, ast.Tuple):
                    for one, value in zip(target.elts, child.value.elts, strict=False):
                        if isinstance(one, ast.Name) and one.id == name:
                            yield value
        if isinstance(child, ast.NamedExpr) and child.target.id == name:
            yield child.value


def _exit_code(call: ast.Call, name: str, code: int) -> int:
    """Return the exit status: an AdminError may have one of its own."""
    given = _argument(call, 2, "exit_code") if name == "AdminError" else None
    return int(given.value) if isinstance(given, ast.Constant) and isinstance(given.value, int) else code


if __name__ == "__main__":
    import sys

    for one in collect(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
        print(f"{one.exit_code}\t{one.text}\t{one.place}")
