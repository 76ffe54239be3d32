"""Let numba make machine code of a whole program once, and of nothing that is only called from within it.

By itself numba optimises each function, gives it a wrapper for Python and makes it machine code before another one
calls it, which then contains it, optimised again: two thirds of the work for what nobody calls. numba has no switch
for that, so this goes to its inner classes, in a process that compiles and does nothing else. They are those of the
release that the bundle's lock pins.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from numba.core import codegen
from numba.core.cpu import CPUContext

OUTERMOST = "cfunc."


class Library(codegen.JITCodeLibrary):  # type: ignore[misc]
    """What numba keeps of a function: optimised and made machine code only when its address for C is asked for."""

    is_outermost = False

    def _optimize_final_module(self) -> None:
        if self.is_outermost:
            super()._optimize_final_module()

    def _finalize_final_module(self) -> None:
        if self.is_outermost:
            super()._finalize_final_module()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of the function that is called from outside."""
        self.is_outermost = name.startswith(OUTERMOST)
        return int(super().get_pointer_to_function(name))


@contextmanager
def at_once() -> Iterator[None]:
    """Within the block, what `cfunc` compiles is optimised and made machine code at once, as one."""
    before = codegen.JITCPUCodegen._library_class, CPUContext.get_executable
    codegen.JITCPUCodegen._library_class, CPUContext.get_executable = Library, _uncallable
    try:
        yield
    finally:
        codegen.JITCPUCodegen._library_class, CPUContext.get_executable = before


def _uncallable(*_: object) -> Callable[[object], None]:
    """Return what stands for a function that Python never calls: numba wants a built-in one, another for each."""
    kept: list[object] = []
    return kept.append
