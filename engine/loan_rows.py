"""Where rows by loan are written: new memory that begins on a line of the cache, or an array that is given."""

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.errors import AssumptionError, Problem

LINE = 64
Floats = NDArray[np.float64]


def new_rows(shape: tuple[int, ...]) -> Floats:
    """An array whose values are not set, on whole lines, so that the core writes them past the caches."""
    count = math.prod(shape)
    room = np.empty(count + LINE // 8)
    first = -room.ctypes.data % LINE // 8
    return room[first : first + count].reshape(shape)


def check_out(
    out: object, level: str, shape: tuple[int, ...], tape: msgspec.Struct, loans: msgspec.Struct
) -> Floats | None:
    """The array that the caller gave for the columns, or none.

    shape: (fields, loans, periods), with scenarios before the loans where there are several. tape, loans: what was
    given, and what is read while rows are written. Raises AssumptionError unless it is a float64 array of that shape in
    C order that may be written and has nothing of the tape in it.
    """
    if out is None:
        return None
    if level != "loan":
        raise refused(f"is given for level {level!r}; expected none, or level 'loan'")
    if not isinstance(out, np.ndarray):
        raise refused(f"is a {type(out).__name__}; expected a NumPy array")
    if out.dtype != np.float64 or not out.dtype.isnative:
        raise refused(f"has dtype {out.dtype}; expected float64")
    if out.shape != shape:
        raise refused(f"has shape {out.shape}; expected {shape}")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise refused("is not contiguous; expected an array in C order, without gaps")
    if not out.flags.writeable:
        raise refused("is read-only; expected an array that can be written")
    if any(np.may_share_memory(out, column) for part in (tape, loans) for column in arrays_of(part)):
        raise refused("shares memory with a column of the tape; expected an array of its own")
    return out


def refused(message: str) -> AssumptionError:
    return AssumptionError([Problem("out", message)])


def arrays_of(part: Any) -> Iterator[NDArray[Any]]:
    """The arrays among a Struct's fields, and in the Structs and mappings among them."""
    if isinstance(part, np.ndarray):
        yield part
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from arrays_of(getattr(part, name))
    elif isinstance(part, dict):
        for value in part.values():
            yield from arrays_of(value)
