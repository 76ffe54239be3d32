"""Which servers the scenarios run against, and the table of what became of them.

`pytest tests/conformance --base-url http://HOST:PORT` tries any OpenAI-compatible chat server (an ending /v1 is
allowed), with `--api-key KEY`; without it, Ferry's engine and its web tier are started. `--table FILE`
writes the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import conformance_servers as servers
import pytest
from conformance_target import Target
from engine_process import EngineProcess

GIVEN, OURS = ["given"], ["engine", "web"]
_results: list[tuple[str, str]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--base-url", help="an OpenAI-compatible server to try")
    group.addoption("--api-key", default="", help="the key that it wants")
    group.addoption("--patience", type=float, default=120.0, help="how long an answer may take, in seconds")
    group.addoption("--table", type=Path, help="where to write what became of each scenario")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        # In a run of all tests these options do not exist: pytest had read its words before this folder.
        names = GIVEN if metafunc.config.getoption("base_url", None) else OURS
        metafunc.parametrize("target", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    with servers.engine(tmp_path_factory.mktemp("conformance")) as process:
        yield process


@pytest.fixture(scope="session")
def web(engine: EngineProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with servers.web(tmp_path_factory.mktemp("conformance") / "web", engine.socket) as target:
        yield target


@pytest.fixture(scope="session")
def given(pytestconfig: pytest.Config) -> Target:
    root = pytestconfig.getoption("base_url").rstrip("/").removesuffix("/v1")
    patience_s = pytestconfig.getoption("patience")
    nameless = Target("given", root, pytestconfig.getoption("api_key"), "", patience_s=patience_s)
    return replace(nameless, model=nameless.get("/v1/models").json()["data"][0]["id"])


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """Each server in turn."""
    if request.param == "engine":
        return servers.engine_target(request.getfixturevalue("engine"))
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def networked(request: pytest.FixtureRequest) -> Target:
    """The one server that has an address on the network."""
    return request.getfixturevalue("given" if request.config.getoption("base_url", None) else "web")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "conformance" in report.nodeid and (report.when == "call" or not report.passed):
        _results.append((report.nodeid.rpartition("::")[2], report.outcome))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table where it was asked for, or where another server was tried."""
    file, is_given = config.getoption("table", None), config.getoption("base_url", None)
    if file or is_given:
        table = render(_results, "given" if is_given else "web")
        terminalreporter.write_line(f"\n{table}")
        if file:
            file.write_text(table)


def render(results: list[tuple[str, str]], networked: str) -> str:
    """Write the table: a line for each scenario, a column for each server; where none is named, it is `networked`."""
    rows: dict[str, dict[str, str]] = {}
    for node, outcome in results:
        name, _, rest = node.removeprefix("test_").partition("[")
        parts = rest.removesuffix("]").split("-")
        server = next((part for part in parts if part in GIVEN + OURS), networked)
        cases = [part for part in parts if part != server]
        scenario = name.replace("_", " ") + (f" ({'-'.join(cases)})" if cases else "")
        rows.setdefault(scenario, {})[server] = outcome
    columns = sorted({server for row in rows.values() for server in row})
    lines = ["| scenario | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(row.get(one, "") for one in columns) + " |" for name, row in rows.items()]
    passed = [f"{sum(row.get(one) == 'passed' for row in rows.values())} of {len(rows)}" for one in columns]
    return "\n".join([*lines, "| passed | " + " | ".join(passed) + " |", ""])
