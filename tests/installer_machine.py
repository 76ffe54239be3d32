"""A server as an operator knows it, driven by hypothesis: any order of commands against a model of what must be there.

In: how many sequences and how long. Each runs the real commands in user mode on the small bundle. `python
tests/installer_machine.py 1000` is the long run of `make soak`.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import small_bundle
from fault_campaign import Campaign
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from install_bench import benching
from small_bundle import Recipe

# What may be damaged, below the release that runs, and how many releases the server needs to have another copy of it:
# environments are made from packages, releases share their weights, and each has the rest to itself.
KINDS = {
    "app/service/engine.py": 2,
    "model/model.safetensors": sys.maxsize,
    "sbom.cdx.json": 2,
    "venv/bin/activate": 1,
    "venv/pyvenv.cfg": 1,
}
RUN = ("run", "log")


class Server(RuleBasedStateMachine):
    """The model: which release runs, which was the newest, whose accounts there are, what is damaged."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.bench = self.stack.enter_context(benching(Path(self.stack.enter_context(tempfile.TemporaryDirectory()))))
        self.campaign = Campaign(self.bench)
        self.counter = 0
        self.runs = self.newest = 0
        self.previous: int | None = None
        self.accounts: set[str] = set()
        self.backups: list[tuple[Path, frozenset[str]]] = []
        self.damaged: set[str] = set()

    def teardown(self) -> None:
        self.stack.close()

    def recipe(self, sequence: int) -> Recipe:
        more = {"licenses/n": b"%d" % sequence}
        return replace(self.bench.recipe, version=f"{sequence}.0.0", sequence=sequence, more=more)

    def bundle(self, sequence: int) -> Path:
        return small_bundle.make(self.bench.folder / "medium", self.recipe(sequence))

    @property
    def is_whole(self) -> bool:
        return bool(self.runs) and not self.damaged

    def is_there_twice(self, path: str) -> bool:
        """Say whether the server has another copy: these bundles are alike but for their version."""
        return len(self.bench.releases()) >= KINDS[path]

    @precondition(lambda self: not self.damaged)
    @rule()
    def install_or_upgrade(self) -> None:
        self.counter += 1
        self.bench.install(self.recipe(self.counter))
        self.previous = self.runs or None
        self.runs = self.newest = self.counter
        self.accounts.add("admin") if not self.accounts else None

    @precondition(lambda self: self.is_whole)
    @rule(behaviour=strategies.sampled_from(["engine dies", "web dies", "spoils data"]))
    def upgrade_to_a_bad_one(self, behaviour: str) -> None:
        self.counter += 1
        self.bench.install(replace(self.recipe(self.counter), behaviour=behaviour), status=5)

    @precondition(lambda self: self.is_whole and self.newest > 1)
    @rule(data=strategies.data())
    def try_an_older_bundle(self, data: strategies.DataObject) -> None:
        older = data.draw(strategies.integers(1, self.newest - 1))
        if older == self.runs:
            assert "installed already" in self.bench.install(self.recipe(older)).stdout
        else:
            self.bench.install(self.recipe(older), status=3)

    @precondition(lambda self: self.is_whole)
    @rule()
    def roll_back(self) -> None:
        if self.runs != self.newest:
            self.bench.ferry("rollback")
        elif self.previous is None:
            self.bench.ferry("rollback", status=2)
        else:
            self.bench.ferry("rollback")
            self.runs, self.previous = self.previous, None

    @precondition(lambda self: self.is_whole and self.runs != self.newest)
    @rule()
    def go_forth_again(self) -> None:
        self.bench.install(self.recipe(self.newest))
        self.previous, self.runs = self.runs, self.newest

    @precondition(lambda self: self.runs)
    @rule()
    def add_an_account(self) -> None:
        name = f"user{len(self.accounts)}-{self.counter}"
        if name not in self.accounts:
            self.bench.ferry("user", "add", name)
            self.accounts.add(name)

    @precondition(lambda self: self.is_whole)
    @rule(path=strategies.sampled_from(sorted(KINDS)), at=strategies.integers(0, 10**6))
    def damage_a_byte(self, path: str, at: int) -> None:
        file = self.bench.prefix / "current" / path
        data = bytearray(file.read_bytes())
        data[at % len(data)] ^= 0x20
        file.write_bytes(data)
        self.damaged.add(path)

    @precondition(lambda self: self.damaged)
    @rule()
    def repair(self) -> None:
        if not all(self.is_there_twice(path) for path in self.damaged):
            assert "give the bundle" in str(self.bench.ferry("repair", "--yes", status=3))
        self.bench.ferry("repair", str(self.bundle(self.runs)), "--yes")
        self.damaged.clear()

    @precondition(lambda self: self.damaged and all(self.is_there_twice(path) for path in self.damaged))
    @rule()
    def repair_from_what_is_here(self) -> None:
        self.bench.ferry("repair", "--yes")
        self.damaged.clear()

    @precondition(lambda self: self.is_whole)
    @rule()
    def back_up(self) -> None:
        file = self.bench.folder / f"backup-{len(self.backups)}.tar"
        self.bench.ferry("backup", str(file))
        self.backups.append((file, frozenset(self.accounts)))

    @precondition(lambda self: self.is_whole and self.backups)
    @rule(data=strategies.data())
    def restore(self, data: strategies.DataObject) -> None:
        file, accounts = data.draw(strategies.sampled_from(self.backups))
        self.bench.ferry("restore", str(file), "--yes")
        self.accounts = set(accounts)

    @precondition(lambda self: self.runs)
    @rule(purge=strategies.booleans())
    def uninstall(self, purge: bool) -> None:
        self.bench.ferry("uninstall", *(["--purge"] if purge else []))
        self.runs = self.newest = 0
        self.previous = None
        self.damaged.clear()
        if purge:
            self.accounts.clear()
            assert not self.bench.prefix.exists()

    @invariant()
    def what_runs_is_what_the_model_says(self) -> None:
        assert self.campaign.leftovers() == []
        assert self.campaign.version() == (f"{self.runs}.0.0" if self.runs else "")
        if self.runs:
            assert {user["user"] for user in self.bench.ferry("user", "list")["users"]} == self.accounts
            assert self.bench.ferry("verify", status=3 if self.damaged else 0)["ok"] is not bool(self.damaged)


def drive(sequences: int, steps: int) -> None:
    """Run so many sequences of at most so many commands; AssertionError shows the shortest one that goes wrong."""
    chosen = settings(
        max_examples=sequences,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        # Shrinking repeats sequences that take seconds each: worth it in the long run alone.
        phases=[Phase.generate, *([Phase.shrink] if sequences > 100 else [])],
        derandomize=sequences <= 100,
        print_blob=True,
    )
    run_state_machine_as_test(Server, settings=chosen)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    count = int(sys.argv[1])
    drive(count, 8)
    print(f"{count} sequences of commands, and the server was what the model said after each command")
