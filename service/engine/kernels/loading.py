"""Kernels from a folder into this process: object files come in, a function that runs one step goes out."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm

from service.engine.kernels.processor import describe, host

# What numba's code refers to for exceptions and reference counts. The kernels have neither, so none of it is called.
UNUSED = (
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
)
Run = Callable[[int, int], None]


def is_current(folder: Path) -> bool:
    """Say whether a folder holds kernels of these sources for this machine's processor."""
    found, wanted = describe(folder), host().render()
    return {name: found.get(name) for name in wanted} == wanted


def load(folder: Path, precision: str) -> Run:
    """Load the step of a precision. It takes the table's address and the thread's number, and no interpreter's lock.

    Raises: OSError, KeyError, RuntimeError where the folder does not hold it.
    """
    symbol = dict(describe(folder)["symbols"])[precision]  # type: ignore[call-overload]
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    assert abort
    for name in UNUSED:
        llvm.add_symbol(name, abort)
    machine = llvm.Target.from_default_triple().create_target_machine(cpu=host().name, features=host().features)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data((folder / f"{precision}.o").read_bytes()))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    if not address:
        raise RuntimeError(f"{folder / precision}.o: the function is missing")
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address)
    _KEPT.append(engine)
    return function


# Code must outlive every thread that may run it.
_KEPT: list[object] = []
