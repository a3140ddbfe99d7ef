"""Answers by media type: JSON and MessagePack as nested columns; Arrow, Parquet and CSV as one long table."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

import engine
from api.errors import Refusal
from engine.summary import summary_of

JSON = "application/json"
Encoder = Callable[[engine.Cashflows], bytes]


def nested(cashflows: engine.Cashflows) -> dict[str, Any]:
    """The answer as a tree: scenarios (if several), then groups (if by group), then columns and summary."""
    if not cashflows.several:
        return {**tree(cashflows, ()), "summary": summary_of(cashflows)}
    return {
        "scenarios": {
            name: {**tree(cashflows, (i,)), "summary": summary_of(cashflows.scenario(i))}
            for i, name in enumerate(cashflows.scenario_names)
        }
    }


def tree(cashflows: engine.Cashflows, index: tuple[int, ...]) -> dict[str, Any]:
    """One scenario's columns, by group where they are by group."""
    if cashflows.level == "group":
        return {
            "groups": {name: {"columns": columns_at(cashflows, (*index, i))} for i, name in enumerate(cashflows.groups)}
        }
    return {"columns": columns_at(cashflows, index)}


def columns_at(cashflows: engine.Cashflows, index: tuple[int, ...]) -> dict[str, Any]:
    """The columns at an index of their leading axes, `period` first and `loan_id` before it at loan level."""
    found: dict[str, Any] = {} if cashflows.loan_ids is None else {"loan_id": cashflows.loan_ids}
    found["period"] = np.asarray(cashflows.period)
    for name, column in cashflows.columns.items():
        found[name] = np.ascontiguousarray(column[index]) if index or not column.flags.c_contiguous else column
    return found


def plain(value: Any) -> Any:
    """What the encoders do not know as what they know."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return msgspec.to_builtins(value)


def encode_json(cashflows: engine.Cashflows) -> bytes:
    """JSON of the nested answer; orjson reads the arrays without copying them into lists."""
    return orjson.dumps(nested(cashflows), default=plain, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_msgpack(cashflows: engine.Cashflows) -> bytes:
    """MessagePack of the nested answer."""
    return msgspec.msgpack.encode(nested(cashflows), enc_hook=plain)


def table(cashflows: engine.Cashflows) -> pa.Table:
    """The answer in long form: scenario, group or loan_id where they apply, then period and the fields."""
    names = cashflows.scenario_names if cashflows.several else ()
    lines = {"group": cashflows.groups, "loan": cashflows.loan_ids or ()}.get(cashflows.level, ("",))
    periods, scenarios = cashflows.periods, max(1, len(names))
    columns: dict[str, Any] = {}
    if names:
        columns["scenario"] = repeated(names, len(lines) * periods, 1)
    if cashflows.level != "pool":
        columns["group" if cashflows.level == "group" else "loan_id"] = repeated(lines, periods, scenarios)
    columns["period"] = pa.array(np.tile(np.asarray(cashflows.period, dtype=np.int32), scenarios * len(lines)))
    for name in cashflows.fields:
        columns[name] = pa.array(np.ascontiguousarray(cashflows.columns[name]).reshape(-1))
    return pa.table(columns)


def repeated(texts: Sequence[str], each: int, times: int) -> pa.DictionaryArray:
    """Each text `each` times in a row, and all of that `times` times, as codes into the texts."""
    codes = np.tile(np.repeat(np.arange(len(texts), dtype=np.int32), each), times)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(texts), type=pa.string()))


def encode_arrow(cashflows: engine.Cashflows) -> bytes:
    """An Arrow IPC stream of the long table."""
    rows = table(cashflows)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def encode_parquet(cashflows: engine.Cashflows) -> bytes:
    """A Parquet file of the long table."""
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table(cashflows), sink, compression="zstd")
    return sink.getvalue()


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def encode_csv(cashflows: engine.Cashflows) -> bytes:
    """CSV of the long table, with a heading."""
    rows = table(cashflows)
    for i, name in enumerate(rows.column_names):
        if pa.types.is_dictionary(rows.schema.field(i).type):
            chunk = rows.column(i).combine_chunks()
            coded = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
            texts = pa.array([harmless(text) for text in coded.dictionary.to_pylist()], type=pa.string())
            rows = rows.set_column(i, name, texts.take(coded.indices))
    sink = io.BytesIO()
    pyarrow.csv.write_csv(rows, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


# In the order of preference where the Accept header leaves the choice.
ENCODERS: dict[str, Encoder] = {
    JSON: encode_json,
    "application/msgpack": encode_msgpack,
    "application/vnd.msgpack": encode_msgpack,
    "application/vnd.apache.arrow.stream": encode_arrow,
    "application/vnd.apache.parquet": encode_parquet,
    "text/csv": encode_csv,
}


def quality(media_type: str, accepted: list[tuple[str, float]]) -> float:
    """The q-value an Accept header gives a media type: that of its most specific match, 0 without one."""
    kind = media_type.split("/")[0]
    for pattern in (media_type, f"{kind}/*", "*/*"):
        found = [q for name, q in accepted if name == pattern]
        if found:
            return max(found)
    return 0.0


def parse_accept(accept: str) -> list[tuple[str, float]]:
    """The media types of an Accept header with their q-values; a q-value that is no number is 1."""
    found = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        q = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    q = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    q = 1.0
        if name:
            found.append((name, q))
    return found


def choose(accept: str, offered: Iterable[str] = ENCODERS) -> str:
    """The media type to answer with, of those offered. Raises Refusal (406) if none of them is accepted."""
    if not accept.strip() or accept == "*/*":
        return JSON
    accepted = parse_accept(accept)
    best = max(offered, key=lambda name: quality(name, accepted))
    if quality(best, accepted) <= 0:
        raise Refusal(406, f"Accept is {accept!r}; expected one of {', '.join(offered)}.")
    return best
