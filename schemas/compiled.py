"""Compiled: functions over arrays that LLVM compiles at their first call, and what they share.

Law: a compiled function holds neither a Python object nor the interpreter's lock, reads no byte outside the arrays
that it was given, and raises nothing: what it finds wrong is its result. Machine code is kept
(``schemas.machine_code``); where it cannot be, each process compiles for itself, which takes seconds.

numba is imported here and there, and nowhere else; what handles events loads it, what only reads counts does not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from paritygate.schemas.machine_code import Kept

P = ParamSpec("P")
R = TypeVar("R")

#: Bytes that :func:`word` may read beyond the last one that is asked for: buffers end with as many.
SPARE_BYTES: Final = 8


#: Nobody calls compiled functions from C.
_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "no_cfunc_wrapper": True}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call, or take the machine code of an earlier process."""
    found: Any = numba.njit(**_OPTIONS)(function)
    with suppress(RuntimeError):  # it has no file
        found._cache = Kept(function)
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


@_part
def bits_of(_typing: Any, number: Any) -> Any:
    """The bits of a ``double`` as a 64-bit number."""
    if number != types.float64:
        return None

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(number), generate


@_part
def product(_typing: Any, a: Any, b: Any) -> Any:
    """The upper and the lower half of the product of two 64-bit numbers."""
    if a != types.uint64 or b != types.uint64:
        return None

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole, half = ir.IntType(128), ir.IntType(64)
        found = builder.mul(builder.zext(args[0], whole), builder.zext(args[1], whole))
        upper = builder.trunc(builder.lshr(found, ir.Constant(whole, 64)), half)
        return context.make_tuple(builder, sig.return_type, (upper, builder.trunc(found, half)))

    halves = types.Tuple((types.uint64, types.uint64))  # type: ignore[no-untyped-call]
    return halves(a, b), generate


@_part
def zeros_before(_typing: Any, number: Any) -> Any:
    """How many bits above the highest one of a 64-bit number are zero."""
    if number != types.uint64:
        return None

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(number), generate


@_part
def zeros_behind(_typing: Any, number: Any) -> Any:
    """How many bits below the lowest one of a 64-bit number are zero."""
    if number != types.uint64:
        return None

    def generate(_context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(number), generate


@compiled
def copy(to: int, source: int, size: int) -> None:
    """Copy some bytes, and up to seven more: both have :data:`SPARE_BYTES` behind them."""
    for done in range(0, size, 8):
        put(to + done, word(source + done))


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


#: Powers of ten that :func:`decimal` knows, from ``10**-_MAX_POWER`` on: the first 128 bits of each. With no more
#: of them no result is too large or too small to have all its bits.
_MAX_POWER: Final = 288


def _first_bits(power: int) -> tuple[int, int]:
    """The first 128 bits of a power of ten, as two numbers."""
    above, below = 10 ** max(power, 0), 10 ** max(-power, 0)
    shift = 128 - above.bit_length() + below.bit_length()
    found = (above << shift) // below if shift >= 0 else (above >> -shift) // below
    found >>= found.bit_length() - 128
    return found >> 64, found & 0xFFFF_FFFF_FFFF_FFFF


#: Powers of ten that are doubles themselves, and the whole numbers below which all are.
_EXACT_POWERS: Final = np.array([10.0**power for power in range(23)])
_EXACT: Final = 1 << 53
_POWERS: Final = np.array([_first_bits(power) for power in range(-_MAX_POWER, _MAX_POWER + 1)], np.uint64)


@compiled
def decimal(digits: Any, power: int) -> Any:
    """The bits of the ``double`` nearest to ``digits * 10**power``, and whether it is certain.

    Source: Lemire, "Number parsing at a gigabyte per second", 2021; the steps are those of Go's ``strconv``.
    """
    one, ones = np.uint64(1), np.uint64(0x1FF)
    if digits == np.uint64(0):
        return np.uint64(0), True
    if digits < np.uint64(_EXACT) and -len(_EXACT_POWERS) < power < len(_EXACT_POWERS):
        whole = np.float64(digits)  # both are exact, so that one operation rounds right
        return bits_of(whole / _EXACT_POWERS[-power] if power < 0 else whole * _EXACT_POWERS[power]), True
    if not -_MAX_POWER <= power <= _MAX_POWER:
        return np.uint64(0), False
    shift = zeros_before(digits)
    digits <<= shift
    exponent = np.uint64(((217706 * power) >> 16) + 64 + 1023) - shift
    high, low = product(digits, _POWERS[power + _MAX_POWER, 0])
    if high & ones == ones and low + digits < digits:
        more, least = product(digits, _POWERS[power + _MAX_POWER, 1])
        total = low + more
        if total < low:
            high += one
        if high & ones == ones and total + one == np.uint64(0) and least + digits < digits:
            return np.uint64(0), False
        low = total
    top = high >> np.uint64(63)
    mantissa = high >> (top + np.uint64(9))
    exponent -= one ^ top
    if low == np.uint64(0) and high & ones == np.uint64(0) and mantissa & np.uint64(3) == one:
        return np.uint64(0), False
    mantissa = (mantissa + (mantissa & one)) >> one
    if mantissa >> np.uint64(53) > np.uint64(0):
        mantissa >>= one
        exponent += one
    return (exponent << np.uint64(52)) | (mantissa & np.uint64(0xF_FFFF_FFFF_FFFF)), True
