"""What a licence allows, in words for who runs the server and is no lawyer: what is stated -> a judgement. Pure.

A list of what allows everything, a list of what needs care, and everything else is unknown: nobody uses a thing against
its terms by our silence. Expressions: SPDX specification, annex "SPDX license expressions"; ids: spdx.org/licenses.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from license_expression import ExpressionError, Licensing

from bundle.components import MODEL, Component

WIDTH = 100
INDENTS: dict[str, Any] = {
    "initial_indent": "  ",
    "subsequent_indent": "    ",
    "break_long_words": False,
    "break_on_hyphens": False,
}
# From the worst to the best; scripts read them.
FORBIDDEN, UNKNOWN, CARE, FREE = ORDER = ("no-commercial-use", "unknown", "care", "free")

FREE_IDS = re.compile(
    r"MIT(-0|-CMU)?|0BSD|BSD-[1-4]-Clause(-(Clear|LBNL|Modification|Patent|UC|Views))?|Apache-(1\.1|2\.0)|ISC|Zlib|"
    r"PSF-2\.0|Python-2\.0(\.1)?|CNRI-Python|ZPL-2\.1|BSL-1\.0|HPND|NCSA|OpenSSL|X11|curl|TCL|ICU|blessing|Unlicense|"
    r"Unicode-(3\.0|DFS-2016)|CC0-1\.0|CC-BY-[34]\.0|bzip2-1\.0\.6|libpng(-2\.0)?"
)
CARE_IDS = (
    (r"AGPL-.+", "whoever uses it over a network may ask for the source of all of it; ask before changing it"),
    (r"(GPL|GFDL)-.+", "passing it on, changed or built into something, puts that under the same licence"),
    (r"LGPL-.+", "passing it on needs its source, and leave to replace it"),
    (r"(MPL|EPL|CDDL|CPL|EUPL|OSL)-.+", "whoever changes its files and passes them on must offer those files' source"),
    (r"CC-BY-SA-.+", "changed versions may only be passed on under the same licence"),
)
FORBIDDEN_IDS = re.compile(
    r".+-NC(-.+)?|PolyForm-(Noncommercial|Internal|Strict|Free-Trial).*|.*[Nn]on-?[Cc]ommercial.*"
)
# What metadata called them before they had ids. The classifier of Apache's names no version; 1.1 is of before 2004.
SPELLED = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
# They do not tell which of their versions, and all of them allow the same.
FREE_FAMILIES = {"bsd", "bsd license", "public domain"}
FREE_WORDS = "free to use, also commercially; keep the licence text with every copy"
FORBIDDEN_WORDS = "NOT FOR COMMERCIAL USE: for research and trying out only; else its owner has to consent in writing"
UNKNOWN_WORDS = "a licence of its own: somebody has to read it before it is used"


TITLES = {
    FORBIDDEN: "Not for commercial use:",
    UNKNOWN: "Unknown: have somebody read the text before it is used:",
    CARE: "Free to use, with conditions for whoever passes it on or changes it:",
}


@dataclass(frozen=True)
class Judgement:
    """One of ORDER, and what to tell people."""

    use: str
    words: str


def spdx(stated: str) -> str:
    """Return the SPDX expression for what metadata states, or what it states where that is none."""
    return SPELLED.get(stated.strip().lower(), stated.strip())


def judge(stated: str, allows_commercial_use: bool = True) -> Judgement:
    """Return what a licence allows, by its SPDX expression or its usual name."""
    if not allows_commercial_use:
        return Judgement(FORBIDDEN, FORBIDDEN_WORDS)
    if stated.strip().lower() in FREE_FAMILIES:
        return Judgement(FREE, FREE_WORDS)
    try:
        return _judge(Licensing().parse(spdx(stated)))
    except (ExpressionError, ValueError, RecursionError):
        several = stated.split(", ")
        return _worst([judge(part) for part in several]) if len(several) > 1 else _of_id(stated)


def _judge(expression: Any) -> Judgement:
    """Judge a parsed expression: of alternatives the best counts, of what holds together the worst."""
    parts = [_judge(part) for part in getattr(expression, "args", ())]
    if not parts:
        return _of_id(str(getattr(expression, "license_symbol", expression)))
    if "OR" in expression.operator:
        return max(parts, key=lambda part: ORDER.index(part.use))
    return _worst(parts)


def _worst(parts: Sequence[Judgement]) -> Judgement:
    use = min((part.use for part in parts), key=ORDER.index)
    return Judgement(use, "; ".join(dict.fromkeys(part.words for part in parts if part.use == use)))


def _of_id(name: str) -> Judgement:
    known = spdx(name)
    if FORBIDDEN_IDS.fullmatch(known):
        return Judgement(FORBIDDEN, FORBIDDEN_WORDS)
    if FREE_IDS.fullmatch(known):
        return Judgement(FREE, FREE_WORDS)
    words = next((words for pattern, words in CARE_IDS if re.fullmatch(pattern, known)), "")
    return Judgement(CARE, words) if words else Judgement(UNKNOWN, UNKNOWN_WORDS)


def report(components: Sequence[Component], paths: Iterable[str]) -> dict[str, Any]:
    """Return what `inspect --licenses --json` says; `paths` are those of the bundle's files."""
    texts = [path for path in paths if path.startswith("licenses/")]
    rows = []
    for one in components:
        found = judge(one.license, one.allows_commercial_use)
        rows.append(
            {
                "kind": one.kind,
                "name": one.name,
                "version": one.version,
                "license": spdx(one.license),
                "use": found.use,
                "words": found.words,
                "texts": [path for path in texts if path.startswith(one.texts)],
            }
        )
    return {"commercial_use": all(row["use"] != FORBIDDEN for row in rows), "components": rows}


def text(name: str, found: dict[str, Any]) -> str:
    """Return the report for people: the model first, then what forbids, what needs care, and the rest by licence."""
    rows = found["components"]
    lines = [f"licences in {name}"]
    for row in (row for row in rows if row["kind"] == MODEL):
        lines += ["", f"The model {row['name']}", f"  licence  {row['license']}", f"  means    {row['words']}"]
        lines.append(f"  text     {', '.join(row['texts']) or 'NOT IN THE BUNDLE'}")
    others = [row for row in rows if row["kind"] != MODEL]
    for use, title in TITLES.items():
        chosen = [row for row in others if row["use"] == use]
        if chosen:
            lines += ["", title, *(f"  {_named(row)}: {row['license']}\n    {row['words']}" for row in chosen)]
    free = [row for row in others if row["use"] == FREE]
    lines += ["", f"Free to use, also commercially; keep the licence texts with every copy ({len(free)}):"]
    for licence in sorted({row["license"] for row in free}):
        names = ", ".join(_named(row) for row in free if row["license"] == licence)
        lines.append(textwrap.fill(f"{licence}: {names}", WIDTH, **INDENTS))
    if bare := [_named(row) for row in others if not row["texts"]]:
        lines += ["", f"No licence text in the bundle for: {', '.join(bare)}"]
    return "\n".join(lines)


def _named(row: dict[str, Any]) -> str:
    return " ".join(filter(None, (row["name"], row["version"])))
