"""Bytecode is made from the wheels, beside the environment that it is for, and stands with its modules at the end."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from checksums.process import ProcessError
from installer import bytecode, compile_wheels
from installer.wheel_files import WheelFile

MODULES = {
    "one/__init__.py": b"name = __file__\n",
    "one/part.py": "# coding: latin-1\nword = 'é'\n".encode("latin-1"),
    "one/broken.py": b"print 'python 2'\n",
    "one/tests/test_one.py": b"",
    "two.py": b"number = 2\n",
    "data.txt": b"no module\n",
}
FINAL = Path("/final/venv")


def wheel(folder: Path, name: str, modules: dict[str, bytes]) -> list[WheelFile]:
    path = folder / f"{name}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in modules.items():
            archive.writestr(member, data)
    return [WheelFile(f"lib/{member}", "", path, member, len(data)) for member, data in modules.items()]


def pyc(module: str) -> Path:
    return Path(importlib.util.cache_from_source(module))


def compile_all(files: list[WheelFile], staging: Path) -> Path:
    """Compile the files, and return an environment in which they stand."""
    venv = staging / "venv"
    for file in files:
        (venv / file.path).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(file.wheel) as archive:
            (venv / file.path).write_bytes(archive.read(file.member))
    with bytecode.compiling(Path(sys.executable), staging, FINAL, files, "llama") as compiled:
        compiled()
    bytecode.place(staging, venv)
    return venv


def test_what_is_python_is_compiled_and_the_rest_is_left_as_it_is(tmp_path: Path) -> None:
    venv = compile_all(wheel(tmp_path, "w", MODULES), tmp_path)
    found = {path.relative_to(venv) for path in venv.rglob("*.pyc")}
    assert found == {pyc("lib/one/__init__.py"), pyc("lib/one/part.py"), pyc("lib/two.py")}


def test_a_module_is_imported_from_its_bytecode(tmp_path: Path) -> None:
    venv = compile_all(wheel(tmp_path, "w", MODULES), tmp_path)
    program = "import one, one.part, two; print(one.name, one.part.word, two.number, two.__cached__)"
    # A source that says something else: it is not looked at.
    (venv / "lib/two.py").write_text("number = 3\n")
    argv = [sys.executable, "-B", "-X", "utf8", "-c", program]
    done = subprocess.run(argv, cwd=venv / "lib", capture_output=True, text=True, check=True)
    assert done.stdout == f"{venv}/lib/one/__init__.py é 2 {venv / pyc('lib/two.py')}\n"


def test_bytecode_names_the_final_place() -> None:
    assert b"/final/venv/lib/two.py" in compile_wheels.compiled(b"def f(): pass\n", "/final/venv/lib/two.py")


def test_the_same_source_gives_the_same_bytecode() -> None:
    assert compile_wheels.compiled(b"x = {1, 2}\n", "/x") == compile_wheels.compiled(b"x = {1, 2}\n", "/x")


def test_a_module_that_two_wheels_bring_is_not_compiled(tmp_path: Path) -> None:
    files = wheel(tmp_path, "a", {"one.py": b"", "two.py": b""}) + wheel(tmp_path, "b", {"two.py": b"x = 1\n"})
    assert [file.member for file in bytecode.choose(files, "")] == ["one.py"]


@pytest.mark.parametrize(
    ("path", "is_chosen"),
    [
        ("transformers/models/llama/modeling_llama.py", True),
        ("transformers/models/auto/modeling_auto.py", True),
        ("transformers/models/bert/modeling_bert.py", False),
        ("torch/nn/functional.py", True),
        ("torch/_inductor/config.py", False),
        ("numpy/tests/test_it.py", False),
    ],
)
def test_what_no_start_imports_is_not_compiled(path: str, is_chosen: bool) -> None:
    file = WheelFile(f"lib/python3.11/site-packages/{path}", "", Path("w.whl"), path, 1)
    assert bytecode.choose([file], "llama") == [file] * is_chosen


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_parts_hold_every_file_once_and_none_is_empty(count: int) -> None:
    files = [WheelFile(f"{number}", "", Path(f"{number % 2}.whl"), "m", number) for number in range(5)]
    parts = bytecode.share(files, count)
    assert len(parts) == min(count, len(files)) and all(parts)
    assert sorted(file.path for part in parts for file in part) == [file.path for file in files]
    assert all([file.wheel for file in part] == sorted(file.wheel for file in part) for part in parts)


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    files = wheel(tmp_path, "w", MODULES)
    compiling = bytecode.compiling(Path(sys.executable), tmp_path, FINAL, [renamed(files[0])], "")
    with compiling as compiled, pytest.raises(ProcessError, match="File name too long"):
        compiled()


def renamed(file: WheelFile) -> WheelFile:
    return WheelFile(f"lib/{'x' * 300}.py", "", file.wheel, file.member, 1)


def test_a_compiler_ends_when_who_started_it_is_gone(tmp_path: Path) -> None:
    files = wheel(tmp_path, "w", MODULES)
    jobs = tmp_path / "jobs"
    jobs.write_text(json.dumps([[str(file.wheel), file.member, file.path] for file in files]))
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from installer import compile_wheels
asked = []
def parent():
    asked.append(1)
    return 1 if len(asked) > 2 else 2
os.getppid = parent
compile_wheels.main(Path({str(jobs)!r}), Path({str(tmp_path / "out")!r}), Path("/final"))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(list((tmp_path / "out").rglob("*.pyc"))) == 1
