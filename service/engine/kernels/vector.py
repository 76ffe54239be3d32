"""Vector instructions for numba code, spelled out in LLVM's language, so that every sum has one order only.

A compiler that may reorder sums gives other last bits for one row than for four: then a person's answer would depend on
who else is asking. Here a dot product is as many running sums as a vector has lanes (lane i adds elements i, i + lanes,
…), added up pairwise at the end, whatever the number of rows that are computed at once. Arrays are flat and hold
float32, int16, int8 (whole numbers) or uint16 (the bits of an IEEE 754 half); one is handed over with the index where
to begin, and the step from row to row where there is more than one.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from service.engine.kernels.table import TILE_ROWS

F32, HALF = ir.FloatType(), ir.HalfType()
I8, I16, I32, I64 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
STORED = {types.float32: F32, types.uint16: HALF, types.int8: I8, types.int16: I16}
INDEX = types.int64


def make_dots(lanes, columns):
    """Make a function that multiplies a tile of TILE_ROWS rows of w with `columns` rows of x.

    y[y_at + b * y_step + r] = sum over k < size of w[w_at + tile(r, k)] * x[x_at + b * x_step + k], where the tile
    holds a vector of row 0, one of row 1, …, then the next one of row 0. `size` is a multiple of a vector's elements:
    `lanes` float32, or 2 × `lanes` int8 and int16, whose sums are int32 and exact.
    """

    @intrinsic
    def dots(_, w, w_at, x, x_at, x_step, size, y, y_at, y_step):
        is_whole = w.dtype == types.int8
        width, total = (2 * lanes, I32) if is_whole else (lanes, F32)
        add_products = _add_whole_products if is_whole else fma

        def generate(context, builder, signature, args):
            tile = element(context, builder, signature, args, 0)
            xs = rows(builder, element(context, builder, signature, args, 2), args[4], columns)
            ys = rows(builder, element(context, builder, signature, args, 6), args[8], columns)

            def body(k, sums):
                start = builder.gep(tile, [builder.mul(k, I64(TILE_ROWS))])
                places = [builder.gep(start, [I64(r * width)]) for r in range(TILE_ROWS)]
                weights = [load(builder, place, w.dtype, width) for place in places]
                others = [load(builder, builder.gep(row, [k]), x.dtype, width) for row in xs]
                pairs = [(weight, other) for other in others for weight in weights]
                return [add_products(builder, *pair, running) for pair, running in zip(pairs, sums, strict=True)]

            begin = [fill(ir.VectorType(total, lanes), 0)] * (TILE_ROWS * columns)
            places = [builder.gep(row, [I64(r)]) for row in ys for r in range(TILE_ROWS)]
            for running, place in zip(loop(builder, args[5], width, begin, body), places, strict=True):
                builder.store(reduce(builder, running), place)
            return context.get_dummy_value()

        return types.none(w, INDEX, x, INDEX, INDEX, INDEX, y, INDEX, INDEX), generate

    return dots


def make_mix(lanes, vectors, columns):
    """Make a function that adds weighted rows to `columns` rows of `vectors` × `lanes` sums.

    y[y_at + b * y_step + d] += sum over t < count of p[p_at + b * p_step + t] * v[v_at + t * v_step + d], in the
    order of t.
    """

    @intrinsic
    def mix(_, p, p_at, p_step, count, v, v_at, v_step, y, y_at, y_step):
        def generate(context, builder, signature, args):
            ps = rows(builder, element(context, builder, signature, args, 0), args[2], columns)
            values = element(context, builder, signature, args, 4)
            ys = rows(builder, element(context, builder, signature, args, 7), args[9], columns)
            outs = [builder.gep(row, [I64(d * lanes)]) for row in ys for d in range(vectors)]

            def body(t, sums):
                row = builder.gep(values, [builder.mul(t, args[6])])
                places = [builder.gep(row, [I64(d * lanes)]) for d in range(vectors)]
                parts = [load(builder, place, v.dtype, lanes) for place in places]
                weights = [splat(builder, builder.load(builder.gep(place, [t])), lanes) for place in ps]
                pairs = [(weight, part) for weight in weights for part in parts]
                return [fma(builder, *pair, running) for pair, running in zip(pairs, sums, strict=True)]

            begin = [load(builder, out, types.float32, lanes) for out in outs]
            for out, value in zip(outs, loop(builder, args[3], 1, begin, body), strict=True):
                store(builder, value, out)
            return context.get_dummy_value()

        return types.none(p, INDEX, INDEX, INDEX, v, INDEX, INDEX, y, INDEX, INDEX), generate

    return mix


def _add_whole_products(builder, a, b, total):
    """Multiply int16 by int16 and add the products of neighbours, as int32: an instruction of its own on x86."""
    lanes = total.type.count
    wide = ir.VectorType(I32, 2 * lanes)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    even, odd = (pick(builder, products, range(start, 2 * lanes, 2)) for start in (0, 1))
    return builder.add(total, builder.add(even, odd))


def element(context, builder, signature, args, number):
    """Give the address of an element: argument `number` is an array, and the next one an index."""
    array = context.make_array(signature.args[number])(context, builder, args[number])
    return builder.gep(array.data, [args[number + 1]])


def rows(builder, first, step, count):
    """Give the addresses of `count` rows."""
    return [builder.gep(first, [builder.mul(step, I64(number))]) for number in range(count)]


def load(builder, pointer, kind, lanes):
    """Load a vector of numba's type `kind` as what it is reckoned in: int8 as int16, halves as float32."""
    found = builder.load(builder.bitcast(pointer, ir.VectorType(STORED[kind], lanes).as_pointer()), align=1)
    if kind == types.int8:
        return builder.sext(found, ir.VectorType(I16, lanes))
    if kind == types.uint16:
        return builder.fpext(found, ir.VectorType(F32, lanes))
    return found


def store(builder, vector, pointer):
    """Store a vector, wherever its address begins."""
    builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()), align=1)


def fill(kind, value):
    """Give a constant vector whose lanes are all the same."""
    return ir.Constant(kind, [value] * kind.count)


def splat(builder, value, lanes):
    """Give a vector of float32 whose lanes are all the same."""
    one = builder.insert_element(ir.Constant(ir.VectorType(F32, lanes), ir.Undefined), value, I32(0))
    return pick(builder, one, [0] * lanes)


def pick(builder, vector, lanes):
    """Give a vector of some lanes of another."""
    lanes = list(lanes)
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def call(builder, name, *vectors):
    """Call one of LLVM's functions of float32 vectors: see its language reference."""
    kind = vectors[0].type
    signature = ir.FunctionType(kind, [kind] * len(vectors))
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{kind.count}f32")
    return builder.call(function, vectors)


def fma(builder, a, b, c):
    """Give a * b + c, rounded once."""
    return call(builder, "fma", a, b, c)


def greater(builder, a, b):
    """Give the greater number of each lane."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def add(builder, a, b):
    """Give the sum of each lane."""
    return builder.add(a, b) if a.type.element == I32 else builder.fadd(a, b)


def reduce(builder, vector, join=add):
    """Join the lanes pairwise: each half with the other, until one is left."""
    while (half := vector.type.count // 2) > 0:
        low, high = (pick(builder, vector, range(start, start + half)) for start in (0, half))
        vector = join(builder, low, high)
    return builder.extract_element(vector, I32(0))


def loop(builder, size, step, begin, body):
    """Emit: for k in range(0, size, step): values = body(k, values). The values stay in registers."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    k, *phis = (builder.phi(kind) for kind in [I64, *(value.type for value in begin)])
    for phi, value in zip([k, *phis], [I64(0), *begin], strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", k, size), inside, after)
    builder.position_at_end(inside)
    ends = body(k, phis)
    for phi, value in zip([k, *phis], [builder.add(k, I64(step)), *ends], strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis
