"""Compiled: functions over arrays that LLVM compiles at their first call, and what they share.

Law: a compiled function holds neither a Python object nor the interpreter's lock, reads no byte outside the arrays
that it was given, and raises nothing: what it finds wrong is its result. Machine code is kept beside the source, or
where the user's cache is; where neither can be written each process compiles for itself, which takes seconds.

numba is imported here and nowhere else; what handles events loads it, what only reads counts does not.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

P = ParamSpec("P")
R = TypeVar("R")

#: Bytes that :func:`word` may read beyond the last one that is asked for: buffers end with as many.
SPARE_BYTES: Final = 8


#: What all compiled functions take from this file. numba looks only at the file of a function to tell whether kept
#: machine code is of it, and would go on with what an older version of this one was compiled into.
_HERE: Final = hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()


class _Kept(FunctionCache):
    """Machine code that is kept, by the source of this file too."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _HERE)  # type: ignore[no-untyped-call]


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call, or take the machine code of an earlier process."""
    found: Any = numba.njit(function, nogil=True)
    with suppress(RuntimeError):  # no folder for machine code that this user may write
        found._cache = _Kept(function)  # type: ignore[no-untyped-call]
    return found  # type: ignore[no-any-return]


#: Something that a compiled function does, written in LLVM's own terms.
_part: Callable[[Any], Any] = intrinsic

# Parts of compiled functions are given addresses, not arrays: numba counts the references to every array that it
# passes on, which would cost more than what these do.


@_part
def address(_typing: Any, array: Any) -> Any:
    """Where the first element of an array lies. Whoever asks holds the array for as long as the address is used."""
    if not isinstance(array, types.Array):
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), generate


@_part
def word(_typing: Any, place: Any) -> Any:
    """The eight bytes at an address as a little-endian number; the address need not be aligned."""
    if place != types.int64:
        return None

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        loaded = builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        loaded.align = 1
        return loaded

    return types.uint64(place), generate


@_part
def byte(_typing: Any, place: Any) -> Any:
    """The byte at an address."""
    if place != types.int64:
        return None

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        loaded = builder.load(builder.inttoptr(args[0], ir.IntType(8).as_pointer()))
        return builder.zext(loaded, ir.IntType(64))

    return types.int64(place), generate


@_part
def put(_typing: Any, place: Any, number: Any) -> Any:
    """Write a number as eight bytes at an address, little-endian."""
    if place != types.int64 or number != types.uint64:
        return None

    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        stored = builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        stored.align = 1
        return context.get_dummy_value()

    return types.void(place, number), generate


@_part
def prefetch(_typing: Any, place: Any) -> Any:
    """Ask for the memory at an address, which will be needed soon; nothing is read."""
    if place != types.int64:
        return None

    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        pointer, how = ir.IntType(8).as_pointer(), ir.IntType(32)
        asked = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer], ir.FunctionType(ir.VoidType(), [pointer, how, how, how])
        )
        # To be read, as near as there is, as data.
        builder.call(asked, [builder.inttoptr(args[0], pointer), *(ir.Constant(how, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(place), generate


@_part
def real(_typing: Any, number: Any) -> Any:
    """The ``double`` whose bits are those of a 64-bit number."""
    if number != types.uint64:
        return None

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(number), generate


@compiled
def is_same(a: int, b: int, size: int) -> bool:
    """Whether ``size`` bytes at two addresses are equal; both have :data:`SPARE_BYTES` behind them."""
    done = 0
    while size - done >= 8:
        if word(a + done) != word(b + done):
            return False
        done += 8
    if done == size:
        return True
    rest = np.uint64(8 * (8 - (size - done)))
    return bool(((word(a + done) ^ word(b + done)) << rest) == np.uint64(0))


@compiled
def is_ascii(at: int, size: int) -> bool:
    """Whether none of ``size`` bytes is above 127; they have :data:`SPARE_BYTES` behind them."""
    end, found = at + size, np.uint64(0)
    while end - at >= 8:
        found |= word(at)
        at += 8
    if at < end:
        found |= word(at) << np.uint64(8 * (8 - (end - at)))
    return bool(found & np.uint64(0x8080808080808080) == np.uint64(0))


@compiled
def is_utf8(at: int, size: int) -> bool:
    """Whether bytes are UTF-8, as RFC 3629 has it: shortest forms, no surrogates, nothing beyond U+10FFFF."""
    if is_ascii(at, size):
        return True
    end = at + size
    while at < end:
        if end - at >= 8 and (word(at) & np.uint64(0x8080808080808080)) == np.uint64(0):
            at += 8
            continue
        first = byte(at)
        at += 1
        if first < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            more = 1
        elif 0xE0 <= first <= 0xEF:
            more = 2
            low, high = (0xA0 if first == 0xE0 else low), (0x9F if first == 0xED else high)
        elif 0xF0 <= first <= 0xF4:
            more = 3
            low, high = (0x90 if first == 0xF0 else low), (0x8F if first == 0xF4 else high)
        else:
            return False
        if at + more > end or not low <= byte(at) <= high:
            return False
        for i in range(at + 1, at + more):
            if not 0x80 <= byte(i) <= 0xBF:
                return False
        at += more
    return True


@compiled
def _turned(number: Any, by: Any) -> Any:
    return (number << by) | (number >> (np.uint64(64) - by))


@compiled
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v2 += v3
    v1 = _turned(v1, np.uint64(13)) ^ v0
    v3 = _turned(v3, np.uint64(16)) ^ v2
    v0 = _turned(v0, np.uint64(32))
    v2 += v1
    v0 += v3
    v1 = _turned(v1, np.uint64(17)) ^ v2
    v3 = _turned(v3, np.uint64(21)) ^ v0
    v2 = _turned(v2, np.uint64(32))
    return v0, v1, v2, v3


@compiled
def siphash(k0: Any, k1: Any, at: int, size: int) -> Any:
    """SipHash-1-3 of some bytes under a key of two numbers, as Python hashes its strings.

    Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
    """
    v0, v1 = k0 ^ np.uint64(0x736F6D6570736575), k1 ^ np.uint64(0x646F72616E646F6D)
    v2, v3 = k0 ^ np.uint64(0x6C7967656E657261), k1 ^ np.uint64(0x7465646279746573)
    end = at + size
    while end - at >= 8:
        m = word(at)
        v3 ^= m
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= m
        at += 8
    m = np.uint64(size & 0xFF) << np.uint64(56)
    if at < end:
        rest = np.uint64(8 * (8 - (end - at)))
        m |= (word(at) << rest) >> rest
    v3 ^= m
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= m
    v2 ^= np.uint64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@compiled
def varint(at: int, end: int) -> Any:
    """A zig-zag varint and where it ends; -1 where it does not end in time, or has more than 63 bits."""
    if at < end and byte(at) < 0x80:
        low = byte(at)
        return (low >> 1) ^ -(low & 1), at + 1
    number, shift = 0, 0
    while at < end and shift < 63:
        low = byte(at)
        at += 1
        number |= (low & 0x7F) << shift
        if low < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
    return 0, -1
