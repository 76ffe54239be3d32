"""A hub's listing -> weights on disk, through the ModelScope SDK: the one module that knows it.

The SDK fetches, resumes and retries; whether what lies there is what the hub listed is checked here afterwards, file by
file. It is kept away from the user's own ModelScope folders, its log and its bars are silenced.
"""

import json
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from bundle import cache
from bundle.hub import Listing
from bundle.progress import Bar, Progress
from bundle.sources import without_passwords
from checksums.errors import CollectError, FerryError, IntegrityError
from checksums.hashing import sha256_file

WORKERS = 4
GOT = re.compile(r"Hash mismatch .* got ([0-9a-f]{16})")
HINT = "run the same command again: what is complete is kept"


def endpoint(given: str = "") -> str:
    """Return the hub's address without a final slash: the given one, MODELSCOPE_ENDPOINT, or the SDK's own default."""
    _prepare()
    from modelscope_hub.config import HubConfig

    return str(HubConfig(endpoint=given or None, token="").endpoint)


def collect(listing: Listing, address: str, token: str, progress: Progress) -> Path:
    """Return a folder that holds every file of the listing, fetching what the cache lacks.

    Raises:
        CollectError: the hub stopped answering.
        IntegrityError: what it sent is not what it listed; every such file is named, with both digests.
    """
    folder = cache.folder("models") / listing.id / listing.commit
    proof = folder.with_name(f"{listing.commit}.json")
    if not _is_proved(listing, folder, proof):
        proof.unlink(missing_ok=True)
        with progress.bytes_bar(listing.id, listing.size_bytes) as bar:
            _download(listing, folder, address, token, bar)
        _check(listing, folder)
        proof.write_text(_digests(listing), encoding="utf-8")
    return folder


def _is_proved(listing: Listing, folder: Path, proof: Path) -> bool:
    """Tell whether an earlier run checked these very files; their digests are taken again while they are packed."""
    if not proof.is_file() or proof.read_text(encoding="utf-8") != _digests(listing):
        return False
    paths = [(folder / file.path, file.size_bytes) for file in listing.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _digests(listing: Listing) -> str:
    return json.dumps({file.path: [file.size_bytes, file.sha256] for file in listing.files}, indent=1)


def _prepare() -> None:
    """Set what the SDK reads while it is imported: folders of our own, no request beyond the two that it needs."""
    home = cache.folder("modelscope")
    os.environ["MODELSCOPE_CACHE"] = str(home / "cache")
    os.environ["MODELSCOPE_HOME"] = str(home / "home")
    os.environ["MODELSCOPE_DOWNLOAD_INTRA_CLOUD"] = "false"


def _download(listing: Listing, folder: Path, address: str, token: str, bar: Bar) -> None:
    _prepare()
    from modelscope.hub.snapshot_download import snapshot_download
    from modelscope_hub import _download as sdk
    from modelscope_hub.errors import HubError

    for name in ("modelscope", "modelscope_hub"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if not isinstance(sdk.tqdm, partial):
        sdk.tqdm = partial(sdk.tqdm, disable=True)
    try:
        snapshot_download(
            listing.id,
            revision=listing.revision,
            local_dir=str(folder),
            cache_dir=os.environ["MODELSCOPE_CACHE"],
            endpoint=address,
            token=token,
            max_workers=WORKERS,
            progress_callbacks=[_callback(bar)],
        )
    except (HubError, OSError) as error:
        raise _translated(error, listing, address) from error


def _callback(bar: Bar) -> type:
    from modelscope_hub._download import ProgressCallback

    class Callback(ProgressCallback):  # type: ignore[misc]
        """Adds the bytes of every file to the one bar."""

        def update(self, size: int) -> None:
            bar.update(size)

    return Callback


def _translated(error: Exception, listing: Listing, address: str) -> FerryError:
    """Return our error for the SDK's: a digest or size that is wrong is one thing, a hub that is away another."""
    from modelscope_hub.errors import FileIntegrityError

    failed: dict[str, Exception] = getattr(error, "failed_files", {})
    listed = {file.path: file.sha256 for file in listing.files}
    wrong = {path: why for path, why in failed.items() if isinstance(why, FileIntegrityError)}
    if wrong:
        lines = (f"{path}: {_difference(why)}, the hub lists sha256 {listed.get(path)}" for path, why in wrong.items())
        return IntegrityError("\n".join(lines), "the hub's file is damaged or was changed: ask its owner")
    lines = (f"{path}: {_line(why)}" for path, why in failed.items())
    text = "\n".join([f"{listing.id} from {address}: {_line(error)}", *lines])
    return CollectError(without_passwords(text), HINT)


def _difference(error: Exception) -> str:
    """Return what came instead; the SDK tells the first 16 digits of its digest, and keeps nothing of it."""
    found = GOT.search(str(error))
    return f"sha256 is {found[1]}…" if found else _line(error)


def _line(error: Exception) -> str:
    """Return the first line of what the SDK says, or the cause where it says it in Chinese."""
    line = (str(error).splitlines() or [""])[0]
    return line if line.isascii() and line else type(error.__cause__ or error).__name__


def _check(listing: Listing, folder: Path) -> None:
    """Compare every file with the listing ourselves: the SDK has called partial downloads whole (modelscope#1317)."""
    with ThreadPoolExecutor() as pool:
        found: list[Any] = list(pool.map(lambda file: _digest(folder / file.path), listing.files))
    wrong = [
        f"{file.path}: sha256 is {digest}, the hub lists {file.sha256}"
        for file, digest in zip(listing.files, found, strict=True)
        if digest != file.sha256
    ]
    for line in wrong:
        (folder / line.partition(":")[0]).unlink(missing_ok=True)
    if wrong:
        raise IntegrityError("\n".join(wrong), "the hub's file is damaged or was changed: ask its owner")


def _digest(path: Path) -> str:
    return sha256_file(path) if path.is_file() else "missing"
