"""How the threads of a step work together: they take pieces from counters, and meet where all of a part is needed.

A thread that the system holds up is waited for briefly, by spinning, then by yielding. Between steps the helpers sleep.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from service.engine.kernels.arrays import compiled, whole
from service.engine.kernels.table import ARRIVED, CLAIMS, GENERATION, LINE, SEMAPHORE_BYTES
from service.engine.kernels.vector import I32, I64, INDEX, element

SPINS = 4000


@intrinsic
def fetch_add(_, cells, index, amount):
    """Add to a cell of an int64 array as one step that other threads see; give what it held before."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", element(context, builder, signature, args, 0), args[2], "acq_rel")

    return types.int64(cells, INDEX, types.int64), generate


@intrinsic
def read_now(_, cells, index):
    """Read a cell of an int64 array that other threads write."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(element(context, builder, signature, args, 0), "acquire", 8)

    return types.int64(cells, INDEX), generate


@intrinsic
def pause(_):
    """Tell the processor that this thread only waits: the other thread of the same core gets more of it."""

    def generate(context, builder, _signature, _args):
        if "x86" in builder.module.triple:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), generate


def make_call(name):
    """Make a function that calls one of the C library's, which takes at most one address."""

    @intrinsic
    def call(_, address):
        def generate(context, builder, _signature, args):
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, [I64]), name)
            builder.call(function, args)
            return context.get_dummy_value()

        return types.none(types.int64), generate

    return call


sem_post, sem_wait, sched_yield = make_call("sem_post"), make_call("sem_wait"), make_call("sched_yield")


@compiled
def claim(t, part):
    """Take the number of the next piece of a part of the step."""
    return fetch_add(whole(t.sync), CLAIMS + LINE * part, 1)


@compiled
def meet(t):
    """Wait until every thread is here."""
    sync = whole(t.sync)
    generation = read_now(sync, GENERATION)
    if fetch_add(sync, ARRIVED, 1) == t.threads - 1:
        fetch_add(sync, ARRIVED, -t.threads)
        fetch_add(sync, GENERATION, 1)
        return
    spins = 0
    while read_now(sync, GENERATION) == generation:
        spins += 1
        if spins > SPINS:
            sched_yield(0)
        else:
            pause()


@compiled
def wake_helpers(t, parts):
    """Begin a step of so many parts."""
    sync = whole(t.sync)
    for part in range(parts):
        sync[CLAIMS + LINE * part] = 0
    for helper in range(1, t.threads):
        sem_post(t.semaphores + helper * SEMAPHORE_BYTES)


@compiled
def sleep(t, thread):
    """Wait for the next step."""
    sem_wait(t.semaphores + thread * SEMAPHORE_BYTES)
