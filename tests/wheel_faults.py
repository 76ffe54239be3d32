"""A hundred wheels with one fault each, and the words that the gate names it with; and good ones that look odd.

HOSTILE: case -> (wheel, words of the refusal). GOOD: case -> wheel.
"""

from __future__ import annotations

import stat
import zipfile

import hostile_wheels as hostile
from hostile_wheels import (
    INFO,
    OTHER,
    Draft,
    draft,
    patched,
    with_file,
    with_mode,
    with_programs,
    with_record,
    with_text,
    without,
)

LINK, DEVICE, PIPE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o644, stat.S_IFIFO | 0o644
BOMB = b"\0" * (4 << 20)
DATA = "small-1.0.data"

NAMES = {
    "climbs": (with_file("small/../../evil.py"), "small/../../evil.py: leads out"),
    "is absolute": (with_file("/etc/cron.d/evil"), "/etc/cron.d/evil: leads out"),
    "backslashes": (with_file("small\\..\\evil.py"), "a path of Windows"),
    "drive letter": (with_file("C:evil.py"), "C:evil.py: a path of Windows"),
    "empty part": (with_file("small//evil.py"), "small//evil.py: a path that is not in its plain form"),
    "dot part": (with_file("./evil.py"), "./evil.py: a path that is not in its plain form"),
    "control character": (with_file("small/\x1b[2J.py"), "characters that cannot be shown"),
    "NUL": (with_file("small/evil.py\0.txt"), "characters that cannot be shown"),
    "right-to-left": (with_file("small/\u202eyp.live"), "characters that cannot be shown"),
    "not normalised": (with_file("small/e\u0301.py"), "a path that is not in its plain form"),
    "blank at the end": (with_file("small/evil.py "), "begins or ends with a blank"),
    "too long": (with_file(f"small/{'x' * 240}.py"), "more than 240 bytes"),
    "case collision": (with_file("small/Other.py"), "differs from small/other.py by case alone"),
    "twice, alike": (hostile.with_second(OTHER, draft().files[OTHER]), "small/other.py: there twice"),
    "twice, another": (hostile.with_second(OTHER, b"evil = 1\n"), "small/other.py: there twice"),
    "a file and a folder": (with_file("small/other.py/evil.py"), "small/other.py: a file, and the folder of"),
    "a file where a folder is named": (hostile.with_folder("small/other.py/"), "small/other.py"),
}
MARKS = {
    "link": (with_mode(LINK), "small/other.py: a link"),
    "device": (with_mode(DEVICE), "small/other.py: a link, a device"),
    "pipe": (with_mode(PIPE), "small/other.py: a link, a device"),
    "set-user-id": (with_mode(stat.S_IFREG | 0o4755), "small/other.py: has set-user-id"),
    "folder that is a link": (with_mode(LINK, "more/"), "more/: a link"),
    "folder with bytes": (hostile.with_folder("more/", b"hidden"), "more/: a folder that holds bytes"),
    "folder by DOS's mark": (with_file(OTHER, attributes=0x10), "small/other.py: a folder by one mark"),
    "encrypted": (patched(hostile.both_headers(OTHER, 6, 8, b"\x01\0")), "small/other.py: encrypted"),
    "masked headers": (patched(hostile.both_headers(OTHER, 6, 8, b"\0\x20")), "small/other.py: encrypted"),
    "bzip2": (with_file(OTHER, methods=zipfile.ZIP_BZIP2), "small/other.py: packed by method 12"),
    "LZMA": (with_file(OTHER, methods=zipfile.ZIP_LZMA), "small/other.py: "),
    "zip bomb": (with_file("small/zeros", BOMB), "small/zeros: a zip bomb"),
    "a second name": (hostile.with_extra(0x7075), "small/other.py: has an extra field 0x7075"),
    "zip64 field": (hostile.with_extra(0x0001, bytes(16)), "small/other.py: has an extra field 0x0001"),
    "member's comment": (hostile.with_comment(OTHER), "has comments"),
}
MARKS["folder that is a link"][0].folders.append("more/")
ARCHIVES = {
    "empty": (patched(lambda data: b""), "not a zip"),
    "no zip": (patched(lambda data: b"\x7fELF" * 99), "not a zip"),
    "cut short": (patched(lambda data: data[:-30]), "not a zip"),
    "bytes before": (patched(lambda data: b"#!/bin/sh\n" + data), "something was put before"),
    "bytes before, offsets right": (
        patched(hostile.insert(lambda data: 0, b"#!/bin/sh\n")),
        "other bytes lie before it",
    ),
    "bytes behind": (patched(lambda data: data + b"more"), "bytes behind its end"),
    "a second zip behind": (patched(lambda data: data + data), "something was put before"),
    "archive's comment": (patched(lambda data: data[:-2] + b"\2\0hi"), "not a zip"),
    "gap": (patched(hostile.insert(lambda data: hostile.local(data, OTHER), b"gap!")), "other bytes lie before it"),
    "gap at the end": (patched(hostile.insert(hostile.directory, b"gap!")), "other bytes lie between"),
    "overlap": (patched(hostile.overlap), "overlaps another member"),
    "reaches too far": (
        patched(hostile.both_headers(OTHER, 18, 20, b"\xff\xff\0\0")),
        "small/other.py: reaches beyond",
    ),
    "another name in its own header": (
        patched(lambda data: data.replace(OTHER.encode(), b"small/evil1.py", 1)),
        "small/other.py: its own header and the directory differ",
    ),
    "another method in its own header": (
        patched(lambda data: hostile.put(data, hostile.local(data, OTHER) + 8, b"\0\0")),
        "small/other.py: its own header and the directory differ",
    ),
    "another size in its own header": (
        patched(lambda data: hostile.put(data, hostile.local(data, OTHER) + 22, b"\1\0\0\0")),
        "small/other.py: its own header and the directory differ",
    ),
    "shorter than its data": (patched(hostile.shorter), "small/__init__.py: "),
    "another CRC": (patched(hostile.both_headers(OTHER, 14, 16, b"\1\2\3\4")), "small/other.py: its CRC-32 differs"),
    "damaged data": (
        patched(lambda data: hostile.put(data, data.index(OTHER.encode()) + len(OTHER), b"\xff\xff")),
        "small/other.py: its deflated data is damaged",
    ),
    "fewer members": (patched(hostile.count(2)), "lists 7 members and its end record 2"),
    "more members": (patched(hostile.count(60_001)), "too many members"),
    "a way to zip64": (patched(hostile.hidden_locator), "something was put before it or between"),
}
IDENTITY = {
    "no description": (Draft({"small/x.py": b""}, has_record=False), "0 folders describe it"),
    "two descriptions": (with_file("pip-99.dist-info/METADATA"), "2 folders describe it (pip-99.dist-info"),
    "another's description": (draft("other"), "other-1.0.dist-info: not the name and version"),
    "an egg's description": (with_file("pip.egg-info/PKG-INFO"), "pip.egg-info/PKG-INFO: describes another package"),
    "another name": (with_text("METADATA", b"Name: small", b"Name: torch"), "METADATA: Name is 'torch'"),
    "two names": (with_text("METADATA", b"Name: small", b"Name: small\nName: torch"), "METADATA: Name is"),
    "another version": (with_text("METADATA", b"Version: 1.0\nL", b"Version: 2.0\nL"), "METADATA: Version is '2.0'"),
    "no version at all": (with_text("METADATA", b"Version: 1.0\nL", b"Version: x\nL"), "METADATA: Version is 'x'"),
    "unknown metadata": (with_text("METADATA", b": 2.4", b": 3.0"), "METADATA: Metadata-Version is '3.0'"),
    "no METADATA": (without(f"{INFO}/METADATA"), f"{INFO}/METADATA: missing"),
    "METADATA in Latin-1": (with_text("METADATA", b"MIT", b"\xe9"), f"{INFO}/METADATA: not in UTF-8"),
    "no WHEEL": (without(f"{INFO}/WHEEL"), f"{INFO}/WHEEL: missing"),
    "other tags": (with_text("WHEEL", b"py3-none-any", b"cp311-cp311-linux_x86_64"), "WHEEL: its tags"),
    "broken tag": (with_text("WHEEL", b"py3-none-any", b"any"), "WHEEL: its tags"),
    "another format": (with_text("WHEEL", b"Version: 1.0", b"Version: 2.0"), "Wheel-Version is not 1.0"),
    "neither pure nor not": (with_text("WHEEL", b"true", b"perhaps"), "Root-Is-Purelib is neither"),
}
RECORDS = {
    "no RECORD": (Draft(draft().files, has_record=False), f"{INFO}/RECORD: missing"),
    "not listed": (hostile.with_second("small/evil.py", b""), "small/evil.py: not listed in RECORD"),
    "not there": (
        with_record(lambda text: f"small/gone.py,sha256=x,1\n{text}"),
        "small/gone.py: listed in RECORD, and",
    ),
    "leads out": (
        with_record(lambda text: f"../../gone.py,sha256=x,1\n{text}"),
        "../../gone.py: listed in RECORD, and",
    ),
    "listed twice": (with_record(lambda text: text + text.splitlines()[1] + "\n"), "small/other.py: twice in RECORD"),
    "another digest": (
        with_record(lambda text: text.replace(text.splitlines()[1][30:40], "A" * 10)),
        "small/other.py: its sha256 differs from RECORD",
    ),
    "another size": (with_record(lambda text: text.replace(",90\n", ",91\n")), "small/other.py: 90 bytes, and RECORD"),
    "MD5": (Draft(draft().files, algorithm="md5"), "small/other.py: RECORD has no SHA-256 or better"),
    "no digest": (
        with_record(lambda text: text.replace(text.splitlines()[1], "small/other.py,,")),
        "small/other.py: RECORD has no SHA-256 or better",
    ),
    "a digest of itself": (
        with_record(lambda text: text.replace("RECORD,,", "RECORD,sha256=AAAA,1")),
        f"{INFO}/RECORD: RECORD states a digest that cannot be",
    ),
    "no list": (with_record(lambda text: text.replace(",", ";")), "is not a path, a digest and a size"),
    "open quote": (with_record(lambda text: f'{text}"open'), "RECORD: not a list"),
    "a field without end": (with_record(lambda text: "x" * 200_000 + text), "RECORD: not a list"),
}
PLACES = {
    "climbing program": (with_programs("../../../bin/sh = small:main"), "'../../../bin/sh' is no name of a program"),
    "absolute program": (with_programs("/bin/sh = small:main"), "'/bin/sh' is no name of a program"),
    "hidden program": (with_programs(".bashrc = small:main"), "'.bashrc' is no name of a program"),
    "python": (with_programs("python3.11 = small:main"), "would replace python3.11"),
    "Python": (with_programs("PYTHON = small:main"), "would replace PYTHON"),
    "ferry": (with_programs("ferry = small:main", "gui_scripts"), "would replace ferry"),
    "uv": (with_programs("uv = small:main"), "would replace uv"),
    "activate": (with_programs("activate = small:main"), "would replace activate"),
    "program behind a carriage return": (
        with_programs("a = 1\r[console_scripts]\rferry = small:main", "other"),
        "entry_points.txt: holds a carriage return within a line",
    ),
    "code for a target": (with_programs("evil = os:system('id')"), "names no function of a module"),
    "target's second line": (with_programs("evil = small:main\n import os"), "names no function"),
    "no target": (with_programs("evil = small"), "evil = 'small' names no function"),
    "program twice": (with_programs("a = small:main\na = small:main"), "entry_points.txt: While reading"),
    "no INI": (with_programs("this is no line of it"), "entry_points.txt: "),
    "programs of one name": (with_file(f"{DATA}/scripts/small"), "bin/small: there twice"),
    "script called python": (with_file(f"{DATA}/scripts/python"), "would replace python"),
    "script in a folder": (with_file(f"{DATA}/scripts/a/b"), "'a/b' is no name of a program"),
    "data among programs": (with_file(f"{DATA}/data/bin/sh"), f"{DATA}/data/bin/sh: data outside share/"),
    "the environment's own file": (with_file(f"{DATA}/data/pyvenv.cfg"), "pyvenv.cfg: data outside share/"),
    "data as modules": (with_file(f"{DATA}/data/lib/python3.11/site-packages/x.py"), "data outside share/"),
    "data of another": (with_file("other-1.0.data/scripts/x"), "other-1.0.data/scripts/x: a place that is not"),
    "unknown scheme": (with_file(f"{DATA}/stdlib/os.py"), "stdlib/os.py: a place that is not"),
    "a file twice": (with_file(f"{DATA}/platlib/small/other.py"), "lib/small/other.py: there twice"),
    "another's description": (with_file(f"{DATA}/purelib/pip-99.dist-info/METADATA"), "describes another package"),
    "pth": (with_file("evil.pth", b"import os\n"), "evil.pth: would run at every start"),
    "pth by another way": (with_file(f"{DATA}/platlib/evil.PTH"), "evil.PTH: would run at every start"),
    "pth under a known name": (with_file("distutils-precedence.pth"), "would run at every start"),
    "sitecustomize": (with_file("sitecustomize.py"), "sitecustomize.py: would run"),
    "usercustomize": (with_file("usercustomize/__init__.py"), "usercustomize/__init__.py: would run"),
    "uv's own module": (with_file("_virtualenv.py"), "_virtualenv.py: would run"),
    "compiled code": (with_file("small/__pycache__/other.cpython-311.pyc"), "compiled code"),
    "egg link": (with_file("evil.egg-link"), "evil.egg-link: would run, or be believed"),
}
HOSTILE = {
    f"{kind}: {name}": case
    for kind, cases in (
        ("name", NAMES),
        ("mark", MARKS),
        ("archive", ARCHIVES),
        ("identity", IDENTITY),
        ("record", RECORDS),
        ("place", PLACES),
    )
    for name, case in cases.items()
}

GOOD = {
    "plain": draft(),
    "SHA-512": Draft(draft().files, algorithm="sha512"),
    "folders named": hostile.with_folder("small/"),
    "stored": with_file(OTHER, methods=zipfile.ZIP_STORED),
    "empty file": with_file("small/py.typed", b""),
    "no kind of file stated": with_mode(0o644),
    "executable": with_mode(stat.S_IFREG | 0o755),
    "no size": with_record(lambda text: text.replace(",90\n", ",\n")),
    "signed by another way": hostile.with_second(f"{INFO}/RECORD.jws", b"{}"),
    "UTF-8": with_file("small/数据.txt"),
    "manual page": with_file(f"{DATA}/data/share/man/man1/small.1"),
    "header": with_file(f"{DATA}/headers/small.h"),
    "script": with_file(f"{DATA}/scripts/more", b"#!python\n"),
    "extras and attributes": with_programs("a = small.other:Thing.main [extra]"),
    "other groups": with_programs("python = whatever", "plugins"),
    "much of the same": with_file("small/zeros", b"\0" * (1 << 20)),
    "sizes behind the data": patched(lambda data: draft().archive(hostile.Pipe())),
    "times": hostile.with_extra(0x5455, b"\x01\0\0\0\0"),
}
