"""Arrays at the addresses that the table names. None knows its size: the sizes are in the table.

numba lets an index below zero count from the end. Where LLVM cannot prove that there is none, a loop is left without
vectors: the innermost loops that matter count from zero, in an array that begins where they do.
"""

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

ANY_SIZE = 1 << 40
# Python calls none of them: they need no wrappers that take its objects.
compiled = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@intrinsic
def view(_, address, like):
    """Give an address as a pointer to elements of the type of `like`."""
    pointer = types.CPointer(like)

    def generate(context, builder, _signature, args):
        return builder.inttoptr(args[0], context.get_value_type(pointer))

    return pointer(address, like), generate


def make_array(like):
    """Make a function that gives the array at an address, of elements of the type of `like`."""

    @compiled
    def array(address):
        return carray(view(address, like), (ANY_SIZE,))

    return array


floats, whole = make_array(np.float32(0)), make_array(np.int64(0))
