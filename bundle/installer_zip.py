"""install.pyz: the installer, the trust core, and click and tqdm out of the very wheels that the lock names.

One zip that Python runs (PEP 441): stored, sorted, dated 1980-01-01, so that the same sources give the same bytes.
"""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bundle.artifacts import sources_below

FOLDERS = ("checksums", "installer")
LIBRARIES = ("click", "tqdm")
EPOCH = (1980, 1, 1, 0, 0, 0)
MAIN = b"from installer.cli import main\n\nmain()\n"


def make(checkout: Path, wheels: Iterable[Path]) -> bytes:
    """Return the bytes of install.pyz; `wheels` are those of LIBRARIES."""
    members = {"__main__.py": MAIN}
    for path in sources_below(checkout, FOLDERS):
        if path.suffix != ".sh":
            members[path.relative_to(checkout).as_posix()] = path.read_bytes()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            members |= {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, members[name])
    return stream.getvalue()
