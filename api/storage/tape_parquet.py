"""Stored tapes as Parquet: written as a stream, read in slices of row groups.

A row group holds ROW_GROUP loans, the last of a tape fewer, so that a slice of the tape is a range of row groups and
memory stays at a few of them whatever the tape. Columns bear the engine's names; the schedules, cashflows and calendars
that loans name are metadata of the file (engine/tape_tables.py), so that any slice has them.
"""

import io
from collections.abc import Collection, Iterator
from datetime import date
from itertools import islice
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pyarrow as pa
from msgspec.structs import fields
from pyarrow import compute as pc
from pyarrow import parquet

import engine
from api.storage.errors import DamagedTape, TooLarge
from api.storage.objects import MissingObject, ObjectStore, StoredFile, StoreError
from api.storage.rows import TapeProfile
from api.storage.texts import character_fault
from engine.assets import LOAN_TYPES
from engine.contracts import is_empty
from engine.errors import MAX_PROBLEMS, Problem
from engine.tape import column_path, loan_columns
from engine.tape_cells import NEEDED, TEXT_COLUMNS
from engine.tape_files import tape_of
from engine.tape_readers import ParquetTape
from engine.tape_tables import tables_of, to_metadata

ROW_GROUP = 131_072
MAX_GROUPS_SHOWN = 1_000
# pyarrow's own allocator gives the memory of a slice back as soon as it is read, and the next slice takes as long to
# get it again as to unpack what goes there.
pa.set_memory_pool(pa.system_memory_pool())
# Loans that share a value of a column, on average, where it is written as codes.
SHARED_BY = 4


class Sink(io.RawIOBase):
    """A file that hands over what was written to it."""

    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.place = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def write(self, data: Any) -> int:
        self.held.append(bytes(data))
        self.place += len(data)
        return len(data)

    def take(self) -> list[bytes]:
        taken, self.held = self.held, []
        return taken


class Profiler:
    """Adds up what a tape holds, batch by batch."""

    def __init__(self, max_loans: int | None = None) -> None:
        self.max_loans = max_loans
        self.loans = self.longest_term = 0
        self.balance = self.rate_sum = self.term_sum = 0.0
        self.groups: dict[str, float] = {}
        self.row_groups: list[int] = []
        self.columns: list[str] = []

    def add(self, tape: engine.Tape) -> None:
        """Counts a batch. Raises TapeError with every fault of it, TooLarge where the tape has too many loans."""
        if self.max_loans is not None and self.loans + len(tape) > self.max_loans:
            raise TooLarge(f"the tape has more than the {self.max_loans:,} loans that are stored (MAX_TAPE_LOANS)")
        arrays = tape.arrays()
        self.loans += len(arrays)
        self.balance += float(arrays.balance.sum())
        self.rate_sum += float(np.dot(arrays.balance, arrays.rate))
        self.term_sum += float(np.dot(arrays.balance, arrays.term))
        self.row_groups.append(int(arrays.term.sum(dtype=np.int64)))
        self.longest_term = max(self.longest_term, int(arrays.term.max(initial=0)))
        group = np.where(arrays.group < 0, len(arrays.groups), arrays.group)
        sums, counts = np.bincount(group, arrays.balance), np.bincount(group)
        for name, balance, count in zip((*arrays.groups, ""), sums.tolist(), counts.tolist(), strict=False):
            if count:
                self.groups[name] = self.groups.get(name, 0.0) + balance

    def profile(self) -> TapeProfile:
        weight = self.balance or 1.0
        return TapeProfile(
            loans=self.loans,
            balance=self.balance,
            loan_months=sum(self.row_groups),
            average_rate=self.rate_sum / weight,
            average_term=self.term_sum / weight,
            longest_term=self.longest_term,
            groups=dict(islice(self.groups.items(), MAX_GROUPS_SHOWN)),
            group_count=len(self.groups),
            columns=self.columns,
        )


def parquet_stream(batches: Iterator[engine.Tape], profiler: Profiler) -> Iterator[bytes]:
    """The bytes of the Parquet file, row group by row group; `profiler` is fed on the way.

    batches: tapes of ROW_GROUP loans, the last may be shorter (engine.iter_tape with that batch_size gives them).
    All have the tables of the first. Raises TapeError with every fault of the first batch that has one, and where there
    are no loans, TapeFileError where batches does.
    """
    sink = Sink()
    writer: Any = None
    try:
        for batch in batches:
            profiler.add(batch)
            table = table_of(batch)
            if writer is None:
                profiler.columns = table.column_names
                # Compression notices few of the bits that flip; checksums notice them all. LZ4 is read in half the
                # time of zstd, and numbers of loans are as small in it.
                writer = parquet.ParquetWriter(
                    sink, table.schema, compression="lz4", use_dictionary=repetitive(table), write_page_checksum=True
                )
                writer.add_key_value_metadata(to_metadata(tables_of(batch)))
            writer.write_table(table.cast(writer.schema), row_group_size=ROW_GROUP)
            yield from sink.take()
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise engine.TapeError([Problem("tape", "has no loans; expected at least one")])
    yield from sink.take()


def repetitive(table: pa.Table) -> list[str]:
    """The columns that are smaller as codes of their values. Where most values differ, codes and the page of what they
    stand for take more than the values, and twice the time to read; texts are read as codes in any case."""
    most = table.num_rows // SHARED_BY
    numbers = [name for name in table.column_names if pa.types.is_primitive(table.schema.field(name).type)]
    many = {name for name in numbers if pc.count_distinct(table.column(name)).as_py() > most}
    return [name for name in table.column_names if name not in many]


def in_row_groups(tape: engine.Tape) -> Iterator[engine.Tape]:
    """A tape in memory as the batches that parquet_stream takes. Raises TapeError for a text that is not stored."""
    # Loans as columns first: what one of them states is a column of every row group.
    loans, tables = len(tape), tables_of(tape)
    columns = {name: value for name, value in columns_of(tape).items() if name in NEEDED or not is_empty(value)}
    if problems := list(islice(text_problems(tape, columns), MAX_PROBLEMS)):
        raise engine.TapeError(problems)
    for start in range(0, loans, ROW_GROUP):
        part = slice(start, start + ROW_GROUP)
        taken = {n: v if isinstance(v, str) or np.ndim(v) == 0 else v[part] for n, v in columns.items()}
        if all(isinstance(v, str) or np.ndim(v) == 0 for v in taken.values()):
            taken["balance"] = [taken["balance"]]
        yield tables.of(engine.Tape.from_columns(**taken))


def text_problems(tape: engine.Tape, columns: dict[str, Any]) -> Iterator[Problem]:
    """A problem for each text of a tape that is not stored, at the loan or the column that has it."""
    for name in TEXT_COLUMNS:
        column = columns.get(name)
        if isinstance(column, str):
            if (fault := character_fault(column)) is not None:
                yield Problem(column_path(name, None), fault)
        elif column is not None:
            for i, text in enumerate(column):
                if isinstance(text, str) and (fault := character_fault(text)) is not None:
                    yield Problem(column_path(name, i) if tape.loans is None else f"tape.loans[{i}].{name}", fault)


def columns_of(tape: engine.Tape) -> dict[str, Any]:
    """The tape's columns by name, none for those it lacks."""
    if tape.loans is None:
        return {name: getattr(tape.columns, name) for name in engine.Columns.__struct_fields__}
    return loan_columns(tape.loans)


def table_of(tape: engine.Tape) -> pa.Table:
    """The tape as an Arrow table; scalars repeat, blank numbers are null; columns at their default are left out."""
    loans = len(tape)
    columns: dict[str, Any] = {}
    for name, value in columns_of(tape).items():
        scalar = value is None or isinstance(value, str) or np.ndim(value) == 0
        if scalar and value == DEFAULTS.get(name):
            continue
        array = pa.array([value] * loans if scalar else value, from_pandas=True)
        if name in KINDS:
            columns[name] = array.cast(KINDS[name])
        elif not pa.types.is_null(array.type):
            columns[name] = array
    return pa.table(columns)


def kind_of(hint: Any) -> pa.DataType | None:
    """The Arrow type of a column of this Python type, none where only its values tell."""
    union = () if get_origin(hint) is Literal else get_args(hint)
    members = {str if get_origin(each) is Literal else each for each in union or (hint,)} - {type(None)}
    if members == {str}:
        return pa.string()
    plain = {float: pa.float64(), int: pa.int32(), date: pa.date32()}
    return next((kind for python, kind in plain.items() if python in members and members <= {float, int, date}), None)


# Declared types, so that every batch of a tape has the same schema though a column of one may be all blank.
KINDS = {
    field.name: kind
    for cls in LOAN_TYPES.values()
    for field in fields(cls)
    if (kind := kind_of(field.type)) is not None
}
DEFAULTS = {field.name: None if field.required else field.default for field in fields(engine.Columns)}


def read_slice(
    store: ObjectStore, key: str, start: int, stop: int, without: Collection[str] = ()
) -> engine.Tape:  # fmt: skip
    """The loans start..stop of a stored tape; both are bounds of row groups. without: columns that are not wanted.

    Raises DamagedTape where the bytes are not those that were written, or there are none, StoreError or OSError where
    none came.
    """
    file = stored_file(store, key)
    try:
        opened = ParquetTape(key, pa.PythonFile(file, mode="r"), None, at_once=True)
        with opened:
            opened.leave_out(without)
            groups = range(start // ROW_GROUP, min(-(-stop // ROW_GROUP), opened.parquet.num_row_groups))
            table = opened.parquet.read_row_groups(list(groups), columns=opened.wanted)
            if table.num_rows != stop - start:
                raise DamagedTape
            return tape_of(table, opened, start, stored=True)
    except MemoryError:
        raise
    except (pa.ArrowException, engine.TapeFileError, StoreError, OSError) as error:
        if isinstance(file.failure, MissingObject):
            raise DamagedTape("missing") from error
        if file.failure is not None:
            raise file.failure from error
        raise DamagedTape from error


def stored_file(store: ObjectStore, key: str) -> StoredFile:
    """The file of a stored tape. Raises DamagedTape where there is none."""
    try:
        return StoredFile(store, key)
    except MissingObject as error:
        raise DamagedTape("missing") from error
