"""`python -m service.engine`: the FERRY_* environment and ferry.toml come in, a serving engine goes out.

With `--wanted` it only says by its status whether this server needs an engine of its own (systemd's ExecCondition):
0 yes, 1 no because `[engine] url` names another. Settings that cannot be used are left to the start itself to report:
systemd would try a failed condition again and again, until the unit's start limit also refuses the mended settings.
"""

import argparse
import faulthandler
import logging
import os
import sys
from collections.abc import Sequence

from service import config
from service.config import Config, ConfigError
from service.paths import Paths, PathsError
from service.sockets import SocketError

# Wrong settings do not mend themselves: the unit does not restart after this status.
EXIT_USAGE = 2
EXIT_FAILED = 1


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="ferry-engine: %(levelname)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # systemd's watchdog ends a decoder that hangs by SIGABRT: the journal then says in which line it was.
    faulthandler.enable()
    _prepare_libraries()
    try:
        paths = Paths.from_environment()
        # torch makes this folder as soon as it is imported, in /tmp unless told otherwise.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(paths.cache / "torchinductor"))
        settings = config.load(paths.config)
        if options.wanted:
            return int(bool(settings.engine.url))
        _check_room(settings)
        return _serve(paths, settings)
    except (ConfigError, PathsError) as error:
        if options.wanted:
            return 0
        _complain(error)
        return EXIT_USAGE
    except SocketError as error:
        _complain(error)
        return EXIT_FAILED


def _check_room(settings: Config) -> None:
    """Rather refuse a context that the unit's memory limit was not made for than be killed in the middle of an answer.

    Raises: ConfigError.
    """
    room, engine = os.environ.get("FERRY_ROOM_TOKENS", ""), settings.engine
    if room.isdigit() and engine.context_tokens * engine.slots > int(room):
        raise ConfigError(
            f"ferry.toml: [engine] context_tokens = {engine.context_tokens}, slots = {engine.slots}: more than the "
            f"{room} tokens that the memory limit of ferry-engine.service was made for",
            "let Ferry set the limit anew: ferry stop; ferry start",
        )


def _prepare_libraries() -> None:
    """Set what torch and transformers read from the environment while they are imported."""
    # No hub is ever asked, whatever a library would like.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    # Between two small operations torch's threads spin, by default for milliseconds. Where anything else wants a core,
    # they spin while the one they wait for is not running: 1.4 to 2 tokens/s instead of 11 (SmolLM2 on 2 busy cores).
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def _serve(paths: Paths, settings: Config) -> int:
    from service.engine.server import run

    return run(paths, settings)


def _complain(error: ConfigError | PathsError | SocketError) -> None:
    lines = [f"error: {error}", *([f"hint: {error.hint}"] if error.hint else [])]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201  # the journal is this program's screen


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m service.engine", description="Ferry's engine on its unix socket.")
    parser.add_argument("--wanted", action="store_true", help="only say whether this server needs its own engine")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    # The decoder's thread may be inside torch, where the interpreter's own way out could crash.
    os._exit(status)
