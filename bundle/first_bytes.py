"""What a file is by its first bytes, whatever its name says: programs, archives and pickles are not carried."""

import pickletools
import re
import zipfile
from pathlib import Path

HEAD_BYTES = 64 << 10
BEGINNINGS = {
    b"PK\x03\x04": "a zip archive, as torch.save writes",
    b"PK\x05\x06": "an empty zip archive",
    b"\x7fELF": "a program (ELF)",
    b"#!": "a script (#!)",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x93NUMPY": "a NumPy file, which may hold a pickle",
    b"\x00asm": "a program (WebAssembly)",
    b"\xca\xfe\xba\xbe": "a program (Java or Mach-O)",
    b"\xfe\xed\xfa": "a program (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a program (Mach-O)",
    b"\xce\xfa\xed\xfe": "a program (Mach-O)",
}
PICKLE_PROTOCOLS = range(1, 6)
TAR_MAGIC = (257, b"ustar")
# What makes a pickle run something: it names a function of a module.
GLOBALS = {"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
MODULE_AND_NAME = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")


def fault(path: Path) -> str:
    """Return what a file is that no model needs, or nothing.

    Not for safetensors files: theirs begin with a length, which may be any bytes, and are parsed to the end.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    # A zip's directory stands at its end.
    return kind(head) or ("a zip archive behind something else" if zipfile.is_zipfile(path) else "")


def kind(head: bytes) -> str:
    """Return what the first bytes say, or nothing where they are harmless or unknown."""
    for beginning, what in BEGINNINGS.items():
        if head.startswith(beginning):
            return what
    if head.startswith(b"MZ") and b"\x00" in head[:64]:
        return "a program (Windows)"
    if head[2:4] == b"\r\n" and head[1:2] in (b"\x0c", b"\x0d", b"\x0e"):
        return "compiled Python"
    if head[TAR_MAGIC[0] :].startswith(TAR_MAGIC[1]):
        return "a tar archive"
    return "a pickle" if _is_pickle(head) else ""


def _is_pickle(head: bytes) -> bool:
    """Tell whether this is a pickle: since protocol 2 they say so, older ones are read as one and name a function."""
    if head[:1] == b"\x80" and len(head) > 2 and head[1] in PICKLE_PROTOCOLS:
        return True
    names_function = False
    try:
        for opcode, argument, _ in pickletools.genops(head):
            is_name = opcode.name == "STACK_GLOBAL" or bool(MODULE_AND_NAME.fullmatch(str(argument)))
            names_function |= opcode.name in GLOBALS and is_name
    except (ValueError, IndexError, OverflowError, MemoryError):
        return names_function and len(head) == HEAD_BYTES
    return names_function
