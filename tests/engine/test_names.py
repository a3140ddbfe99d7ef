"""Columns of texts as indices of sorted names, whatever holds them: lists, NumPy's objects, NumPy's own characters."""

from typing import Any

import numpy as np
import pytest

from engine.checks import Checks

MANY = [f"pool {i * 7919 % 5_000}" for i in range(20_000)]
COLUMNS: dict[str, Any] = {
    "a list": ["b", "a", "b", "c"],
    "a tuple": ("b", "a"),
    "blanks of all kinds": ["x", None, "", float("nan"), "w"],
    "texts that are equal and not the same": ["ab", "".join(["a", "b"]), np.str_("ab")],
    "numbers": [3, 3.0, "3"],
    "objects": np.array(["b", None, "a"], dtype=object),
    "characters": np.array(["b", "", "aa", "b"]),
    "characters, all blank": np.array(["", ""]),
    "characters, none blank": np.array(["b", "a"]),
    "characters with strides": np.array(["c", "x", "a", "x", "b", "x"])[::2],
    "characters of the other byte order": np.array(["é", "𝄞", "a"], dtype=">U2" if np.little_endian else "<U2"),
    "no characters": np.array([], dtype="U3"),
    "an empty list": [],
    "more names than the first table has room for": MANY,
    "the same as characters": np.array(MANY),
}


def plain(column: Any) -> tuple[list[int], tuple[str, ...]]:
    """The same by Python's sets and lists alone."""
    texts = ["" if text is None or text != text else str(text) for text in column]
    names = sorted(set(texts) - {""})
    place = {name: i for i, name in enumerate(names)}
    return [place[text] if text else -1 for text in texts], tuple(names)


@pytest.mark.parametrize("what", COLUMNS)
def test_names_are_sorted_and_blanks_are_none(what: str) -> None:
    column = COLUMNS[what]
    found, names = Checks({"group": column}, len(column), lambda name, i: name).names("group")
    expected, expected_names = plain(column)
    assert names == expected_names
    assert found.tolist() == expected
    assert found.dtype == np.int32
