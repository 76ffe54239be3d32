"""Functions of rows of float32, vector by vector: sums and greatest numbers, softmax, the gate, halves."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from service.engine.kernels.vector import (
    F32,
    HALF,
    I16,
    I32,
    INDEX,
    add,
    call,
    element,
    fill,
    fma,
    greater,
    load,
    loop,
    reduce,
    splat,
    store,
)


def make_fold(lanes, kind):
    """Make a function that folds x[x_at : x_at + size] into a number; `size` is a multiple of `lanes`.

    It is the greatest number ("max"), the greatest absolute value ("size"), the "sum", or the sum of the "squares".
    """
    join = greater if kind in ("max", "size") else add

    @intrinsic
    def fold(_, x, x_at, size):
        def generate(context, builder, signature, args):
            row = element(context, builder, signature, args, 0)

            def body(k, values):
                found = load(builder, builder.gep(row, [k]), types.float32, lanes)
                if kind == "squares":
                    return [fma(builder, found, found, *values)]
                return [join(builder, *values, call(builder, "fabs", found) if kind == "size" else found)]

            begin = fill(ir.VectorType(F32, lanes), float("-inf") if kind == "max" else 0.0)
            return reduce(builder, *loop(builder, args[2], lanes, [begin], body), join)

        return types.float32(x, INDEX, INDEX), generate

    return fold


def make_weigh(lanes):
    """Make a function that sets x[x_at + i] = exp((x[x_at + i] - top) * factor) for i < size, as in softmax."""

    @intrinsic
    def weigh(_, x, x_at, size, top, factor):
        def generate(context, builder, signature, args):
            row = element(context, builder, signature, args, 0)
            top, factor = (splat(builder, value, lanes) for value in args[3:])

            def body(k, _values):
                place = builder.gep(row, [k])
                found = builder.fsub(load(builder, place, types.float32, lanes), top)
                store(builder, _exp(builder, builder.fmul(found, factor)), place)
                return []

            loop(builder, args[2], lanes, [], body)
            return context.get_dummy_value()

        return types.none(x, INDEX, INDEX, types.float32, types.float32), generate

    return weigh


def make_gate(lanes):
    """Make a function that sets x[x_at + i] = silu(x[x_at + i]) * y[y_at + i] for i < size.

    silu(x) = x / (1 + exp(-x)).
    """

    @intrinsic
    def gate(_, x, x_at, y, y_at, size):
        def generate(context, builder, signature, args):
            xs, ys = (element(context, builder, signature, args, number) for number in (0, 2))
            one = fill(ir.VectorType(F32, lanes), 1.0)

            def body(k, _values):
                place = builder.gep(xs, [k])
                found = load(builder, place, types.float32, lanes)
                below = builder.fadd(one, _exp(builder, builder.fneg(found)))
                other = load(builder, builder.gep(ys, [k]), types.float32, lanes)
                store(builder, builder.fmul(builder.fdiv(found, below), other), place)
                return []

            loop(builder, args[4], lanes, [], body)
            return context.get_dummy_value()

        return types.none(x, INDEX, y, INDEX, INDEX), generate

    return gate


def _exp(builder, x):
    """e to the power of x, within 2 units of the last place, from e^-87 to e^88: Cephes' expf."""
    kind, whole = x.type, ir.VectorType(I32, x.type.count)
    x = greater(builder, x, fill(kind, -87.0))
    high = fill(kind, 88.0)
    x = builder.select(builder.fcmp_ordered("<", x, high), x, high)
    n = call(builder, "floor", fma(builder, x, fill(kind, 1.44269504088896341), fill(kind, 0.5)))
    r = fma(builder, n, fill(kind, -0.693359375), x)
    r = fma(builder, n, fill(kind, 2.12194440e-4), r)
    p = fill(kind, 1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = fma(builder, p, r, fill(kind, factor))
    p = builder.fadd(fma(builder, p, builder.fmul(r, r), r), fill(kind, 1.0))
    bits = builder.add(builder.fptosi(n, whole), fill(whole, 127))
    return builder.fmul(p, builder.bitcast(builder.shl(bits, fill(whole, 23)), kind))


@intrinsic
def to_half(_, value):
    """Round a float32 to the bits of a half."""

    def generate(_context, builder, _signature, args):
        return builder.bitcast(builder.fptrunc(args[0], HALF), I16)

    return types.uint16(types.float32), generate
