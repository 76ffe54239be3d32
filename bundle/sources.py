"""Where wheels come from: pip's own configuration plus the command line, in the words that pip and that uv understand.

uv reads none of pip's configuration, so what `pip config list` says is handed over. Index addresses travel in the
environment and never in an argument: they may hold a password.
"""

import ast
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from checksums import process
from checksums.errors import UsageError

# pip lets a command's own section, then the environment, win over [global].
SECTIONS = ("global", "download", ":env:")
LINE = re.compile(r"([^.=]+)\.([a-z-]+)=(.*)")
PASSWORD = re.compile(r"(?<=://)[^/@\s]+@")
TRUTHS = {"1", "true", "yes", "y", "on", "t"}


@dataclass(frozen=True)
class Sources:
    """Package sources: "" and () stand for what pip and uv do by themselves."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    certificates: str = ""
    proxy: str = ""
    no_index: bool = False

    def for_uv(self) -> tuple[list[str], dict[str, str]]:
        """Return the arguments and the environment that make uv look where pip looks."""
        arguments = ["--no-index"] if self.no_index else []
        for place in self.find_links:
            arguments += ["--find-links", place]
        environment = {
            "UV_DEFAULT_INDEX": self.index_url,
            "UV_EXTRA_INDEX_URL": " ".join(self.extra_index_urls),
            "UV_INSECURE_HOST": " ".join(self.trusted_hosts),
            "SSL_CERT_FILE": self.certificates,
            "HTTP_PROXY": self.proxy,
            "HTTPS_PROXY": self.proxy,
        }
        return arguments, {name: value for name, value in environment.items() if value}

    def for_pip(self) -> dict[str, str]:
        """Return the environment that makes pip look in exactly these places."""
        environment = {
            "PIP_INDEX_URL": self.index_url,
            "PIP_EXTRA_INDEX_URL": " ".join(self.extra_index_urls),
            "PIP_FIND_LINKS": " ".join(self.find_links),
            "PIP_NO_INDEX": "1" if self.no_index else "",
        }
        return {name: value for name, value in environment.items() if value}

    def with_index(self, url: str) -> "Sources":
        """Return the same sources and one more index."""
        return replace(self, extra_index_urls=(*self.extra_index_urls, url))

    def origin_of(self, url: str) -> str:
        """Return the word that the manifest says for a wheel at `url`: it never holds an address."""
        folders = [_as_path(place) for place in self.find_links]
        if urlsplit(url).scheme in {"", "file"} and _as_path(url).parent in folders:
            return "find-links"
        return "index"


def configured(find_links: tuple[str, ...] = (), index_url: str = "") -> Sources:
    """Return pip's configured sources; a folder or an index from the command line is added or wins."""
    for place in find_links:
        if "://" not in place and not Path(place).is_dir():
            raise UsageError(f"{place}: no such folder", "--find-links takes a folder of wheels or an address")
    text = process.run([sys.executable, "-m", "pip", "config", "list"]).text
    sources = parse(text)
    links = (*sources.find_links, *(place if "://" in place else str(Path(place).resolve()) for place in find_links))
    return replace(sources, find_links=links, index_url=index_url or sources.index_url)


def parse(config_list: str) -> Sources:
    """Read what `pip config list` prints: lines such as global.find-links='/wheels'."""
    values: dict[str, str] = {}
    found = [match for line in config_list.splitlines() if (match := LINE.fullmatch(line.strip()))]
    for section in SECTIONS:
        values |= {match[2]: str(ast.literal_eval(match[3])) for match in found if match[1] == section}

    def words(key: str) -> tuple[str, ...]:
        return tuple(values.get(key, "").split())

    return Sources(
        index_url=values.get("index-url", ""),
        extra_index_urls=words("extra-index-url"),
        find_links=words("find-links"),
        trusted_hosts=words("trusted-host"),
        certificates=values.get("cert", ""),
        proxy=values.get("proxy", ""),
        no_index=values.get("no-index", "").lower() in TRUTHS,
    )


def without_passwords(text: str) -> str:
    """Return `text` with the user and password of every address in it replaced."""
    return PASSWORD.sub("****@", text)


def _as_path(place: str) -> Path:
    return Path(urlsplit(place).path if place.startswith("file:") else place)
