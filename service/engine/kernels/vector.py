"""Vector instructions for numba code, spelled out in LLVM's language, so that every sum has one order only.

A compiler that may reorder sums gives other last bits for one row than for four: then a person's answer would depend on
who else is asking. Here a dot product is as many running sums as a vector has lanes (lane i adds elements i, i + lanes,
…), added up pairwise at the end, whatever the number of rows that are computed at once. Arrays are flat and hold
float32, int8 (whole numbers) or uint16 (the bits of an IEEE 754 half).
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from service.engine.kernels.table import TILE_ROWS

F32, I8, I16, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
ELEMENTS = {types.float32: F32, types.int8: I8, types.uint16: I16}
Builder = Any


def make_dots(lanes: int, columns: int) -> Any:
    """Make a function that multiplies a tile of TILE_ROWS rows of w with `columns` rows of x.

    y[y_at + b * y_step + r] = sum over k < size of w[w_at + tile(r, k)] * x[x_at + b * x_step + k], where the tile holds
    `lanes` elements of row 0, of row 1, …, then the next ones of row 0. `size` is a multiple of `lanes`.
    """

    @intrinsic  # type: ignore[misc]
    def dots(
        _: Any, w: Any, w_at: Any, x: Any, x_at: Any, x_step: Any, size: Any, y: Any, y_at: Any, y_step: Any
    ) -> Any:
        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            w_, w_at_, x_, x_at_, x_step_, size_, y_, y_at_, y_step_ = args
            w_type, x_type, y_type = signature.args[0], signature.args[2], signature.args[6]
            [tile] = _rows(context, builder, w_type, w_, w_at_, I64(0), 1)
            xs = _rows(context, builder, x_type, x_, x_at_, x_step_, columns)

            def body(k: Any, sums: list[Any]) -> list[Any]:
                start = builder.gep(tile, [builder.mul(k, I64(TILE_ROWS))])
                places = [builder.gep(start, [I64(r * lanes)]) for r in range(TILE_ROWS)]
                weights = [_load(builder, place, w_type.dtype, lanes) for place in places]
                found = []
                for b, row in enumerate(xs):
                    other = _load(builder, builder.gep(row, [k]), x_type.dtype, lanes)
                    sums_b = sums[b * TILE_ROWS : (b + 1) * TILE_ROWS]
                    found += [
                        _fma(builder, weight, other, total) for weight, total in zip(weights, sums_b, strict=True)
                    ]
                return found

            zero = ir.Constant(ir.VectorType(F32, lanes), [0.0] * lanes)
            sums = _loop(builder, size_, lanes, [zero] * (TILE_ROWS * columns), body)
            for b, out in enumerate(_rows(context, builder, y_type, y_, y_at_, y_step_, columns)):
                for r in range(TILE_ROWS):
                    builder.store(_reduce(builder, sums[b * TILE_ROWS + r], lanes), builder.gep(out, [I64(r)]))
            return context.get_dummy_value()

        at = types.int64
        return types.none(w, at, x, at, at, at, y, at, at), generate

    return dots


def make_whole_dots(lanes: int, columns: int) -> Any:
    """Make a function like that of `make_dots` for int8 weights and int16 x; y is int32, and every sum exact.

    A vector holds 2 × `lanes` elements, and so does a tile of each of its rows at a time.
    """
    width = 2 * lanes

    @intrinsic  # type: ignore[misc]
    def dots(
        _: Any, w: Any, w_at: Any, x: Any, x_at: Any, x_step: Any, size: Any, y: Any, y_at: Any, y_step: Any
    ) -> Any:
        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            w_, w_at_, x_, x_at_, x_step_, size_, y_, y_at_, y_step_ = args
            w_type, x_type, y_type = signature.args[0], signature.args[2], signature.args[6]
            [tile] = _rows(context, builder, w_type, w_, w_at_, I64(0), 1)
            xs = _rows(context, builder, x_type, x_, x_at_, x_step_, columns)
            short, small = ir.VectorType(I16, width), ir.VectorType(I8, width)

            def load(pointer: Any, kind: Any) -> Any:
                return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=1)

            def body(k: Any, sums: list[Any]) -> list[Any]:
                start = builder.gep(tile, [builder.mul(k, I64(TILE_ROWS))])
                places = [builder.gep(start, [I64(r * width)]) for r in range(TILE_ROWS)]
                weights = [builder.sext(load(place, small), short) for place in places]
                found = []
                for b, row in enumerate(xs):
                    other = load(builder.gep(row, [k]), short)
                    sums_b = sums[b * TILE_ROWS : (b + 1) * TILE_ROWS]
                    pairs = [_add_products(builder, weight, other, lanes) for weight in weights]
                    found += [builder.add(total, pair) for total, pair in zip(sums_b, pairs, strict=True)]
                return found

            zero = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
            sums = _loop(builder, size_, width, [zero] * (TILE_ROWS * columns), body)
            for b, out in enumerate(_rows(context, builder, y_type, y_, y_at_, y_step_, columns)):
                for r in range(TILE_ROWS):
                    builder.store(_reduce(builder, sums[b * TILE_ROWS + r], lanes, "whole"), builder.gep(out, [I64(r)]))
            return context.get_dummy_value()

        at = types.int64
        return types.none(w, at, x, at, at, at, y, at, at), generate

    return dots


def _add_products(builder: Builder, a: Any, b: Any, lanes: int) -> Any:
    """Multiply int16 by int16 and add the products of neighbours, as int32: an instruction of its own on x86."""
    wide, undefined = ir.VectorType(I32, 2 * lanes), ir.Constant(ir.VectorType(I32, 2 * lanes), ir.Undefined)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    masks = [ir.Constant(ir.VectorType(I32, lanes), list(range(start, 2 * lanes, 2))) for start in (0, 1)]
    even, odd = (builder.shuffle_vector(products, undefined, mask) for mask in masks)
    return builder.add(even, odd)


def make_fold(lanes: int, kind: str) -> Any:
    """Make a function that gives the "max", the greatest "size", the "sum" or the sum of "squares" of x[at : at + size], `size` as in make_dots."""

    @intrinsic  # type: ignore[misc]
    def fold(_: Any, x: Any, at: Any, size: Any) -> Any:
        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            [row] = _rows(context, builder, signature.args[0], args[0], args[1], I64(0), 1)

            def body(k: Any, values: list[Any]) -> list[Any]:
                found = _load(builder, builder.gep(row, [k]), types.float32, lanes)
                if kind == "size":
                    kind_of = ir.FunctionType(found.type, [found.type])
                    found = builder.call(
                        cgutils.get_or_insert_function(builder.module, kind_of, f"llvm.fabs.v{lanes}f32"), [found]
                    )
                if kind == "squares":
                    return [_fma(builder, found, found, values[0])]
                return [_join(builder, "max" if kind == "size" else kind, values[0], found)]

            begin = ir.Constant(ir.VectorType(F32, lanes), [float("-inf") if kind == "max" else 0.0] * lanes)
            [value] = _loop(builder, args[2], lanes, [begin], body)
            return _reduce(builder, value, lanes, "max" if kind == "size" else kind)

        return types.float32(x, types.int64, types.int64), generate

    return fold


def make_weigh(lanes: int) -> Any:
    """Make a function that sets x[at + i] = exp((x[at + i] - top) * factor) for i < size, as in softmax."""

    @intrinsic  # type: ignore[misc]
    def weigh(_: Any, x: Any, at: Any, size: Any, top: Any, factor: Any) -> Any:
        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            [row] = _rows(context, builder, signature.args[0], args[0], args[1], I64(0), 1)
            top, factor = (_splat(builder, value, lanes) for value in args[3:])

            def body(k: Any, _values: list[Any]) -> list[Any]:
                place = builder.gep(row, [k])
                found = builder.fsub(_load(builder, place, types.float32, lanes), top)
                _store(builder, _exp(builder, builder.fmul(found, factor)), place)
                return []

            _loop(builder, args[2], lanes, [], body)
            return context.get_dummy_value()

        return types.none(x, types.int64, types.int64, types.float32, types.float32), generate

    return weigh


def make_gate(lanes: int) -> Any:
    """Make a function that sets x[at + i] = silu(x[at + i]) * y[at + i] for i < size; silu(x) = x / (1 + exp(-x))."""

    @intrinsic  # type: ignore[misc]
    def gate(_: Any, x: Any, y: Any, at: Any, size: Any) -> Any:
        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            xs, ys = (_rows(context, builder, signature.args[i], args[i], args[2], I64(0), 1)[0] for i in (0, 1))
            one = ir.Constant(ir.VectorType(F32, lanes), [1.0] * lanes)

            def body(k: Any, _values: list[Any]) -> list[Any]:
                place = builder.gep(xs, [k])
                found = _load(builder, place, types.float32, lanes)
                below = builder.fadd(one, _exp(builder, builder.fneg(found)))
                other = _load(builder, builder.gep(ys, [k]), types.float32, lanes)
                _store(builder, builder.fmul(builder.fdiv(found, below), other), place)
                return []

            _loop(builder, args[3], lanes, [], body)
            return context.get_dummy_value()

        return types.none(x, y, types.int64, types.int64), generate

    return gate


def _exp(builder: Builder, x: Any) -> Any:
    """e to the power of x, within 2 units of the last place, from e^-87 to e^88: Cephes' expf."""
    kind, whole = x.type, ir.VectorType(I32, x.type.count)

    def all_of(value: float) -> Any:
        return ir.Constant(kind, [value] * kind.count)

    low, high = all_of(-87.0), all_of(88.0)
    x = builder.select(builder.fcmp_ordered(">", x, low), x, low)
    x = builder.select(builder.fcmp_ordered("<", x, high), x, high)
    floor = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind]), f"llvm.floor.v{kind.count}f32"
    )
    n = builder.call(floor, [_fma(builder, x, all_of(1.44269504088896341), all_of(0.5))])
    r = _fma(builder, n, all_of(-0.693359375), x)
    r = _fma(builder, n, all_of(2.12194440e-4), r)
    p = all_of(1.9875691500e-4)
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = _fma(builder, p, r, all_of(factor))
    p = builder.fadd(_fma(builder, p, builder.fmul(r, r), r), all_of(1.0))
    bits = builder.add(builder.fptosi(n, whole), ir.Constant(whole, [127] * kind.count))
    return builder.fmul(p, builder.bitcast(builder.shl(bits, ir.Constant(whole, [23] * kind.count)), kind))


def _store(builder: Builder, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=1)


def _join(builder: Builder, kind: str, a: Any, b: Any) -> Any:
    if kind == "whole":
        return builder.add(a, b)
    return builder.select(builder.fcmp_ordered(">", a, b), a, b) if kind == "max" else builder.fadd(a, b)


def make_mix(lanes: int, vectors: int, columns: int) -> Any:
    """Make a function that adds weighted rows to `columns` rows of `vectors` × `lanes` sums.

    y[y_at + b * y_step + d] += sum over t < rows of p[p_at + b * p_step + t] * v[v_at + t * v_step + d], in the order of t.
    """

    @intrinsic  # type: ignore[misc]
    def mix(
        _: Any,
        p: Any,
        p_at: Any,
        p_step: Any,
        rows: Any,
        v: Any,
        v_at: Any,
        v_step: Any,
        y: Any,
        y_at: Any,
        y_step: Any,
    ) -> Any:
        def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
            p_, p_at_, p_step_, rows_, v_, v_at_, v_step_, y_, y_at_, y_step_ = args
            p_type, v_type, y_type = signature.args[0], signature.args[4], signature.args[7]
            ps = _rows(context, builder, p_type, p_, p_at_, p_step_, columns)
            [values] = _rows(context, builder, v_type, v_, v_at_, I64(0), 1)
            ys = _rows(context, builder, y_type, y_, y_at_, y_step_, columns)
            outs = [builder.gep(y, [I64(d * lanes)]) for y in ys for d in range(vectors)]

            def body(t: Any, sums: list[Any]) -> list[Any]:
                row = builder.gep(values, [builder.mul(t, v_step_)])
                parts = [
                    _load(builder, builder.gep(row, [I64(d * lanes)]), v_type.dtype, lanes) for d in range(vectors)
                ]
                found = []
                for b, place in enumerate(ps):
                    weight = _splat(builder, builder.load(builder.gep(place, [t])), lanes)
                    sums_b = sums[b * vectors : (b + 1) * vectors]
                    found += [_fma(builder, weight, part, total) for part, total in zip(parts, sums_b, strict=True)]
                return found

            begin = [_load(builder, out, types.float32, lanes) for out in outs]
            for out, value in zip(outs, _loop(builder, rows_, 1, begin, body), strict=True):
                _store(builder, value, out)
            return context.get_dummy_value()

        at = types.int64
        return types.none(p, at, at, at, v, at, at, y, at, at), generate

    return mix


def _rows(context: Any, builder: Builder, array_type: Any, array: Any, start: Any, step: Any, count: int) -> list[Any]:
    """Give the addresses of `count` rows of a flat array."""
    data = context.make_array(array_type)(context, builder, array).data
    return [builder.gep(data, [builder.add(start, builder.mul(step, I64(row)))]) for row in range(count)]


def _load(builder: Builder, pointer: Any, kind: Any, lanes: int) -> Any:
    """Load `lanes` numbers as float32; `kind` is numba's type of the array's elements."""
    found = builder.load(builder.bitcast(pointer, ir.VectorType(ELEMENTS[kind], lanes).as_pointer()), align=1)
    if kind == types.int8:
        return builder.sitofp(found, ir.VectorType(F32, lanes))
    if kind == types.uint16:
        return builder.fpext(builder.bitcast(found, ir.VectorType(ir.HalfType(), lanes)), ir.VectorType(F32, lanes))
    return found


def _splat(builder: Builder, value: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(F32, lanes), ir.Undefined)
    one = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _fma(builder: Builder, a: Any, b: Any, c: Any) -> Any:
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{a.type.count}f32")
    return builder.call(function, [a, b, c])


def _reduce(builder: Builder, vector: Any, lanes: int, kind: str = "sum") -> Any:
    """Join the lanes pairwise: each half with the other, until one is left."""
    while lanes > 1:
        undefined, half = ir.Constant(vector.type, ir.Undefined), lanes // 2
        masks = [ir.Constant(ir.VectorType(I32, half), list(range(start, start + half))) for start in (0, half)]
        low, high = (builder.shuffle_vector(vector, undefined, mask) for mask in masks)
        vector, lanes = _join(builder, kind, low, high), half
    return builder.extract_element(vector, I32(0))


def _loop(
    builder: Builder, size: Any, step: int, begin: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Emit: for k in range(0, size, step): values = body(k, values). The values stay in registers."""
    before = builder.block
    head = builder.append_basic_block("head")
    inside = builder.append_basic_block("inside")
    after = builder.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(I64)
    phis = [builder.phi(value.type) for value in begin]
    k.add_incoming(I64(0), before)
    for phi, value in zip(phis, begin, strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed("<", k, size), inside, after)
    builder.position_at_end(inside)
    ends = body(k, list(phis))
    k.add_incoming(builder.add(k, I64(step)), builder.block)
    for phi, value in zip(phis, ends, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return phis


@intrinsic  # type: ignore[misc]
def view(_: Any, address: Any, like: Any) -> Any:
    """Give an address as a pointer to elements of the type of `like`."""
    pointer = types.CPointer(like.dtype if hasattr(like, "dtype") else like)

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return pointer(address, like), generate


@intrinsic  # type: ignore[misc]
def to_half(_: Any, value: Any) -> Any:
    """Round a float32 to the bits of a half."""

    def generate(_context: Any, builder: Builder, _signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], ir.HalfType()), I16)

    return types.uint16(types.float32), generate


@intrinsic  # type: ignore[misc]
def fetch_add(_: Any, cells: Any, index: Any, amount: Any) -> Any:
    """Add to a cell of an int64 array as one step that other threads see; give what it held before."""

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        [place] = _rows(context, builder, signature.args[0], args[0], args[1], I64(0), 1)
        return builder.atomic_rmw("add", place, args[2], "acq_rel")

    return types.int64(cells, types.int64, types.int64), generate


@intrinsic  # type: ignore[misc]
def read_now(_: Any, cells: Any, index: Any) -> Any:
    """Read a cell of an int64 array that other threads write."""

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        [place] = _rows(context, builder, signature.args[0], args[0], args[1], I64(0), 1)
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(cells, types.int64), generate


def make_call(name: str) -> Any:
    """Make a function that calls one of the C library's, which takes at most one address."""

    @intrinsic  # type: ignore[misc]
    def call(_: Any, address: Any) -> Any:
        def generate(context: Any, builder: Builder, _signature: Any, args: Any) -> Any:
            function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, [I64]), name)
            builder.call(function, args)
            return context.get_dummy_value()

        return types.none(types.int64), generate

    return call


@intrinsic  # type: ignore[misc]
def pause(_: Any) -> Any:
    """Tell the processor that this thread only waits: the other thread of the same core gets more of it."""

    def generate(context: Any, builder: Builder, _signature: Any, _args: Any) -> Any:
        if "x86" in builder.module.triple:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), generate
