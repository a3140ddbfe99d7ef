"""Tables of columns to CSV, Parquet, Arrow and JSON files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.tape_files import ENDINGS, format_of

TABLE_ENDINGS = ENDINGS | {".json": "json"}

# What a spreadsheet takes for the beginning of a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def harmless(values: Any) -> Any:
    """A column of which no text is a formula to a spreadsheet; numbers are as they were."""
    found = np.asarray(values)
    if found.dtype.kind not in "OUS":
        return found
    texts = found.tolist()
    return [f"'{text}" if isinstance(text, str) and text.startswith(FORMULA_STARTS) else text for text in texts]


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> None:
    """Writes one-dimensional columns to a file; its ending says whether CSV, Parquet, Arrow or JSON.

    JSON is `{"columns": {name: [..], ..}}`, as the service answers. Raises TapeFileError for another ending.
    """
    format = format_of(str(path), TABLE_ENDINGS)
    if format == "json":
        plain = {name: np.asarray(values).tolist() for name, values in columns.items()}
        Path(path).write_bytes(msgspec.json.encode({"columns": plain}))
        return
    import pyarrow as pa
    from pyarrow import csv as arrow_csv
    from pyarrow import feather, parquet

    table = pa.table({name: np.asarray(values) for name, values in columns.items()})
    if format == "csv":
        arrow_csv.write_csv(pa.table({name: harmless(column) for name, column in columns.items()}), str(path))
    elif format == "parquet":
        parquet.write_table(table, str(path), compression="zstd")
    else:
        feather.write_feather(table, str(path), compression="uncompressed")
