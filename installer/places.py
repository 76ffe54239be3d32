"""Where everything of an installation is: a prefix and a mode come in, paths and the service's environment go out.

Pure: nothing here looks at the disk. The table is the contract's, section 4.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT_PREFIX = Path("/opt/ferry")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
INTERPRETER = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Places:
    """The paths of one installation; `is_user` says that it has neither root nor systemd."""

    prefix: Path
    is_user: bool

    @property
    def mode(self) -> str:
        """The mode as state.json writes it."""
        return "user" if self.is_user else "root"

    @property
    def releases(self) -> Path:
        return self.prefix / "releases"

    @property
    def store(self) -> Path:
        """Payload by digest; the weights and wheels of all releases are hard links to it."""
        return self.prefix / "store"

    @property
    def venvs(self) -> Path:
        return self.prefix / "venvs"

    @property
    def pythons(self) -> Path:
        """Interpreters that came with releases, by the digest of their archive."""
        return self.prefix / "pythons"

    @property
    def current(self) -> Path:
        """The symbolic link to the release that runs."""
        return self.prefix / "current"

    @property
    def state(self) -> Path:
        return self.prefix / "state.json"

    @property
    def etc(self) -> Path:
        return self.prefix / "etc" if self.is_user else Path("/etc/ferry")

    @property
    def config(self) -> Path:
        return self.etc / "ferry.toml"

    @property
    def allowed_signers(self) -> Path:
        return self.etc / "allowed_signers"

    @property
    def data(self) -> Path:
        return self.prefix / "data" if self.is_user else Path("/var/lib/ferry")

    @property
    def log(self) -> Path:
        return self.prefix / "log" if self.is_user else Path("/var/log/ferry")

    @property
    def cache(self) -> Path:
        return self.prefix / "cache" if self.is_user else Path("/var/cache/ferry")

    @property
    def run(self) -> Path:
        return self.prefix / "run" if self.is_user else Path("/run/ferry")

    @property
    def wrapper(self) -> Path:
        """The `ferry` command."""
        return self.prefix / "bin" / "ferry" if self.is_user else Path("/usr/local/bin/ferry")

    @property
    def python(self) -> Path:
        """The interpreter of the release that runs."""
        return self.current / "venv" / "bin" / "python"

    @property
    def app(self) -> Path:
        """The folder from which `python -m service…` runs."""
        return self.current / "app"

    def release(self, name: str) -> Path:
        """The folder of one release."""
        return self.releases / name

    def stored(self, sha256: str) -> Path:
        """The place of a payload file in the store."""
        return self.store / sha256[:2] / sha256

    def environment(self) -> dict[str, str]:
        """Return the variables that name the service's paths and keep it off the network."""
        return {
            "FERRY_RELEASE": str(self.current),
            "FERRY_CONFIG": str(self.config),
            "FERRY_SOCKET": str(self.run / "engine.sock"),
            "FERRY_DATA": str(self.data),
            "FERRY_LOG": str(self.log),
            "FERRY_CACHE": str(self.cache),
            **OFFLINE,
            **INTERPRETER,
        }


def places_of(prefix: Path | None, is_user: bool) -> Places:
    """Return the places of an installation, with the mode's own prefix where none is given."""
    default = Path.home() / "ferry" if is_user else ROOT_PREFIX
    return Places((prefix or default).absolute(), is_user)
