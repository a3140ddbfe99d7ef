"""Which Arrow types a tape's columns may have, and how long their texts are, told before the cells are read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.errors import TapeFileError

# Bytes of a cell: a code may stand for its text in a million rows.
MAX_TEXT = 1_000


def check_kinds(name: str, schema: Any, chosen: Mapping[str, str], texts: tuple[str, ...]) -> None:
    """Raises TapeFileError for a column of a type that holds no such cells. texts: our columns of texts."""
    for ours, header in chosen.items():
        kind = schema.field(header).type
        if not (holds_texts(stored_kind(kind)) if ours in texts else holds_numbers(stored_kind(kind))):
            shown, wanted = str(kind)[:100], "texts" if ours in texts else "numbers"
            raise TapeFileError(f"{name}, column '{header}' holds {shown}; expected {wanted}")


def stored_kind(kind: Any) -> Any:
    """The type of the cells, of a dictionary that of its entries."""
    import pyarrow as pa

    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: Any) -> bool:
    return is_view(kind) or is_plain_text(kind)


def is_view(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind))


def is_plain_text(kind: Any) -> bool:
    import pyarrow as pa

    of = pa.types
    return bool(of.is_string(kind) or of.is_large_string(kind) or of.is_binary(kind) or of.is_large_binary(kind))


def holds_texts(kind: Any) -> bool:
    """Whether cells of the type can be written as texts, none of them longer than its bytes allow."""
    import pyarrow as pa

    if pa.types.is_fixed_size_binary(kind):
        return bool(kind.byte_width <= MAX_TEXT)
    return not (pa.types.is_nested(kind) or pa.types.is_dictionary(kind))


def holds_numbers(kind: Any) -> bool:
    import pyarrow as pa

    of = pa.types
    words = of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind)
    return bool(words or of.is_integer(kind) or of.is_floating(kind) or of.is_decimal(kind) or of.is_null(kind))


def check_lengths(name: str, stored: Any) -> None:
    """Raises TapeFileError for a text that is longer than a cell may be."""
    longest = longest_text(stored)
    if longest > MAX_TEXT:
        raise TapeFileError(f"column '{name}' has a text of {longest:,} bytes; expected at most {MAX_TEXT:,}")


def longest_text(stored: Any) -> int:
    """Bytes of the longest text of an array, 0 where its type holds none."""
    from pyarrow import compute as pc

    if is_view(stored.type):
        # A view is sixteen bytes, of which the first four are its length.
        views = np.frombuffer(stored.buffers()[1], dtype=np.int32).reshape(-1, 4)
        lengths = views[stored.offset : stored.offset + len(stored), 0]
        return int(lengths[stored.is_valid().to_numpy(zero_copy_only=False)].max(initial=0))
    if is_plain_text(stored.type):
        return pc.max(pc.binary_length(stored)).as_py() or 0
    return 0
