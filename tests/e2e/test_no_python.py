"""A Debian 12 from which every Python was removed: the bundle brings its own, as root and as a plain user.

One server for the file. The interpreter is Debian's own, made relocatable and laid out as those that are fetched.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace

import openai
import pytest
import relocatable
import small_bundle
from container import Container
from demo_bundle import CHECKOUT, carrying_bundle
from roots import server_root
from small_bundle import Recipe
from test_crossing import QUESTION, UNITS, URL, Server, changes

GLIBC = "2.36"  # Debian 12's
REMOVE = "rm -rf /usr/bin/python3* /usr/lib/python3* /usr/share/python3 /etc/python3*"
FIND = "find / -xdev -path '*/bin/python*' -o -xdev -name 'libpython3*.so*' -o -xdev -name os.py"
AS_ALICE = ["runuser", "-u", "alice", "--", "env", "HOME=/home/alice", "PATH=/usr/bin:/bin"]
TRUST = ["--allowed-signers", "/media/small/list", "--yes"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Container(server_root())
    made.show("/media/usb", carrying_bundle(relocatable.of_server(), GLIBC).folder)
    key, small = small_bundle.make_key(made.folder / "key"), made.folder / "small"
    recipe = Recipe(keys=(key,), python="3.11", glibc=GLIBC, interpreter=relocatable.of_server())
    small_bundle.make(small / "1", recipe)
    small_bundle.make(small / "2", replace(recipe, version="2.0.0", sequence=2))
    shutil.copy(CHECKOUT / "installer" / "install.sh", small)
    shutil.copy(key.with_suffix(".allowed"), small / "list")
    made.show("/media/small", small)
    with made:
        made.run(["sh", "-c", REMOVE])
        made.run(["useradd", "--create-home", "alice"])
        yield Server(made, made.listing("/", "/tmp"))


def programs(server: Server) -> set[str]:
    """Return what the two units really run."""
    return {server.container.run(["readlink", f"/proc/{server.main_pid(unit)}/exe"]).stdout.strip() for unit in UNITS}


def test_there_is_no_python(server: Server) -> None:
    assert server.container.run(["sh", "-c", "command -v python3 python"], check=False).returncode != 0
    assert server.container.run(["sh", "-c", FIND]).stdout == ""


def test_a_plain_user_installs_upgrades_and_removes_it(server: Server) -> None:
    for number in ("1", "2"):
        bundle = f"/media/small/{number}/{Recipe(version=f'{number}.0.0').name}.tar"
        server.container.run([*AS_ALICE, "sh", "/media/small/install.sh", bundle, "--user-mode", *TRUST], timeout_s=300)
    ferry = [*AS_ALICE, "/home/alice/ferry/bin/ferry"]
    status = json.loads(server.container.run([*ferry, "status", "--json"]).stdout)
    assert (status["state"], status["ready"], status["version"]) == ("running", True, "2.0.0")
    folders = server.container.run(["ls", "/home/alice/ferry/pythons"]).stdout.split()
    assert len(folders) == 1, "both releases share it"
    server.container.run([*ferry, "stop"])
    server.container.run([*ferry, "uninstall", "--purge"])
    assert server.container.run(["pgrep", "-u", "alice"], check=False).stdout == ""
    assert changes(server.before, server.container.listing("/", "/tmp")) == {}


def test_root_installs_it_and_it_answers(server: Server) -> None:
    install = ["sh", "/media/usb/install.sh", "--allowed-signers", "/media/usb/allowed_signers", "--yes"]
    done = server.container.run(install, check=False, timeout_s=900)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{server.journal()}"
    assert "unpacking Python 3.11." in done.stderr and "Traceback" not in done.stderr
    assert server.states() == ["active", "active"]
    (program,) = programs(server)
    assert program.startswith("/opt/ferry/pythons/") and program.endswith("/bin/python3.11")
    key = str(server.ferry("key", "add", "tests")["key"])
    with server.container.network():
        client = openai.OpenAI(base_url=f"{URL}/v1", api_key=key, timeout=120, max_retries=0)
        answer = client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": QUESTION}], temperature=0
        )
    assert "Paris" in str(answer.choices[0].message.content)


def test_looking_at_it_writes_nothing(server: Server) -> None:
    before = server.container.listing("/opt/ferry")
    assert server.ferry("status")["ready"] is True and server.ferry("verify")["ok"] is True
    assert server.container.listing("/opt/ferry") == before


def test_after_a_purge_the_disk_is_as_it_was(server: Server) -> None:
    server.container.run(["ferry", "uninstall", "--purge"])
    assert changes(server.before, server.container.listing("/", "/tmp")) == {}
