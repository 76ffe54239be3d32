"""Fixtures that several kinds of test share, what each kind needs of the host, and the rule that CI skips nothing."""

import os
import shutil
import signal
import time
from collections.abc import Generator
from pathlib import Path

import combination
import demo_bundle as demo
import pytest

pytest.register_assert_rewrite("lifecycle", "servers")

KINDS = ("unit", "integration", "conformance", "e2e", "browser")  # in the order in which they run
NEEDS = {
    "e2e": ("debootstrap", "systemd-nspawn", "nsenter", "unshare", "setpriv", "strace"),
    "browser": ("chromium",),
    "nginx": ("nginx", "openssl"),
    "postgresql": ("initdb", "postgres"),
    "slapd": ("slapd", "ldapadd", "openssl"),
    "openssl": ("openssl", "faketime"),
    "npm": ("node", "npm"),
}
# Where a plain user's PATH does not lead.
SEARCHED = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
)
DAY_S, TEST_S = 86_400, 20
Report = pytest.TestReport | pytest.CollectReport
HOW = "to enable: as root on Debian or Ubuntu, sh tests/system_packages.sh"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "e2e: boots a container; needs root")
    config.addinivalue_line("markers", "browser: drives a real Chromium")
    config.addinivalue_line("markers", "nginx: runs a real nginx")
    config.addinivalue_line("markers", "postgresql: runs a real PostgreSQL")
    config.addinivalue_line("markers", "slapd: runs a real LDAP directory")
    config.addinivalue_line("markers", "openssl: makes certificates, some of another day")
    config.addinivalue_line("markers", "npm: runs JavaScript clients from npm")
    for number in (signal.SIGINT, signal.SIGHUP):
        # Who runs in the background, or under nohup, ignores them, and every program under test would inherit that.
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def kind_of(item: pytest.Item) -> str:
    return next((part for part in item.path.parts if part in KINDS), "unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quick kinds first, mark each test with its kind, and skip what this host cannot do."""
    items.sort(key=lambda item: KINDS.index(kind_of(item)))
    for item in items:
        kind = kind_of(item)
        if kind in NEEDS:
            item.add_marker(kind)
        if reason := missing(kind, [marker.name for marker in item.iter_markers()]):
            item.add_marker(pytest.mark.skip(reason=reason))


def missing(kind: str, markers: list[str]) -> str:
    """Return why a test cannot run here, or nothing."""
    needed = [tool for marker in {kind, *markers} for tool in NEEDS.get(marker, ())]
    absent = [tool for tool in needed if not shutil.which(tool, path=SEARCHED)]
    if absent:
        return f"no {', '.join(absent)} here; {HOW}"
    if "e2e" in {kind, *markers} and os.geteuid() != 0:
        return f"booting a container needs root; {HOW}"
    return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Report, Report]:
    return fail_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Report, Report]:
    return fail_skip((yield))


def fail_skip(report: Report) -> Report:
    """With CI=true a skip is a failure: what was not tried was not tested. (An expected failure is no skip.)"""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI=true: {report.nodeid}: {report.longreprtext}"
    return report


@pytest.fixture(autouse=True)
def _one_day() -> None:
    """Begin no test in the last seconds of a day: quotas, counts and the audit log's files go by the day, in UTC."""
    left = DAY_S - time.time() % DAY_S
    if left < TEST_S:
        time.sleep(left + 0.1)


@pytest.fixture(scope="module", params=combination.databases())
def database_kind(request: pytest.FixtureRequest) -> str:
    """Each kind of database that the service works with, one after the other; FERRY_TEST_ON chooses one."""
    return str(request.param)


@pytest.fixture(scope="session")
def demo_media() -> demo.DemoBundle:
    """The demo bundle, install.sh and allowed_signers in one folder, and the key that signed."""
    return demo.demo_bundle()


@pytest.fixture(scope="session")
def demo_bundle(demo_media: demo.DemoBundle) -> Path:
    return demo_media.tarball


@pytest.fixture(scope="session")
def allowed_signers(demo_media: demo.DemoBundle) -> Path:
    return demo_media.allowed_signers


@pytest.fixture(scope="session")
def signing_key(demo_media: demo.DemoBundle) -> Path:
    return demo_media.signing_key
