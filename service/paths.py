"""Where this release, its settings and its data are: the FERRY_* environment comes in, a frozen `Paths` goes out.

The environment is the only way a path gets into the service, so that units, user mode and tests share one code.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class PathsError(Exception):
    """The environment or the release it names is not whole; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Paths:
    release: Path
    config: Path
    socket: Path
    data: Path
    log: Path
    cache: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Paths":
        """Read FERRY_RELEASE, FERRY_CONFIG, FERRY_SOCKET, FERRY_DATA, FERRY_LOG and FERRY_CACHE.

        Raises: PathsError naming every variable that is missing.
        """
        names = {name: f"FERRY_{name.upper()}" for name in cls.__dataclass_fields__}
        if missing := [variable for variable in names.values() if not environment.get(variable)]:
            raise PathsError(
                f"not set: {', '.join(missing)}", "start Ferry with: systemctl start ferry, or: ferry start"
            )
        return cls(**{name: Path(environment[variable]) for name, variable in names.items()})

    @property
    def model(self) -> Path:
        """The folder of the weights, the tokenizer and their settings."""
        return self.release / "model"

    @property
    def manifest(self) -> Path:
        return self.release / "manifest.json"


def model_name(paths: Paths) -> str:
    """Say the name clients call the model by: the last part of the manifest's model id.

    Raises: PathsError when the release has no readable manifest.
    """
    try:
        name: str = json.loads(paths.manifest.read_bytes())["model"]["id"].rpartition("/")[2]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PathsError(f"{paths.manifest}: not a readable manifest ({error})", "run: ferry verify") from error
    return name
