"""install.pyz: the installer, the trust core, and what they import of click and tqdm, out of the wheels of the lock.

One zip that Python runs (PEP 441): stored, sorted, dated 1980-01-01, so that the same sources give the same bytes. Not
compressed: other builds of zlib give other bytes. Instead all but the commands come without comments and docstrings.
"""

import io
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bundle.artifacts import sources_below
from bundle.slim_source import slim

FOLDERS = ("checksums", "installer")
LIBRARIES = ("click", "tqdm")
EPOCH = (1980, 1, 1, 0, 0, 0)
# Other front ends and platforms, tests, papers: every delta carries install.pyz, and these are a quarter of it.
UNUSED = re.compile(
    r"click/(testing|_winconsole)\.py|tqdm/(contrib/.*|(notebook|autonotebook|auto|asyncio|rich|keras|dask|tk)\.py"
    r"|_(main|tqdm|tqdm_gui|tqdm_notebook|utils)\.py|completion\.sh|tqdm\.1)"
    r"|[^/]+\.dist-info/(METADATA|RECORD|WHEEL|entry_points\.txt|top_level\.txt)"
)
# On a damaged interpreter not even that may be imported.
MAIN = b"""\
import sys

try:
    from installer.cli import main
except Exception as error:
    sys.stderr.write(f"error: Ferry's program, or the Python that it runs on, is damaged: {error}\\n")
    sys.stderr.write("hint: install the same bundle again: sh install.sh ferry-\\u2026.tar\\n")
    sys.exit(3)
main()
"""


def make(checkout: Path, wheels: Iterable[Path]) -> bytes:
    """Return the bytes of install.pyz; `wheels` are those of LIBRARIES."""
    members = {"__main__.py": MAIN}
    for path in sources_below(checkout, FOLDERS):
        if path.suffix != ".sh":
            name = path.relative_to(checkout).as_posix()
            # click shows the docstrings of commands.
            members[name] = path.read_bytes() if path.name.startswith("cli") else _slimmed(name, path.read_bytes())
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            used = (name for name in archive.namelist() if not name.endswith("/") and not UNUSED.fullmatch(name))
            members |= {name: _slimmed(name, archive.read(name)) for name in used}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, members[name])
    return stream.getvalue()


def _slimmed(name: str, data: bytes) -> bytes:
    return slim(data) if name.endswith(".py") else data
