"""Tape files: formats, names of columns, units of rates, blanks, and what is said of a cell that cannot be read."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, ipc, parquet

from engine.aliases import ALIASES, column_of
from engine.errors import TapeFileError
from engine.table_files import write_table
from engine.tape import COLUMN_NAMES, Tape
from engine.tape_files import iter_tape, read_tape
from engine.tape_lines import count_lines

COLUMNS = {
    "loan_id": ["a", "b", None],
    "balance": [100_000.0, 250_000.5, 75_000.0],
    "annual_rate": [0.065, 0.08125, 0.0],
    "remaining_term": [360, 177, 1],
    "age": [0, None, 12],
    "group": ["prime", "auto", "prime"],
}


def write_csv(path: Path, table: pa.Table) -> None:
    path.write_text(
        "\n".join(
            [",".join(table.column_names)]
            + [
                ",".join("" if v is None else str(v) for v in row)
                for row in zip(*(column.to_pylist() for column in table.columns), strict=True)
            ]
        )
    )


def write_stream(path: Path, table: pa.Table) -> None:
    with ipc.new_stream(str(path), table.schema) as sink:
        sink.write_table(table, max_chunksize=2)


WRITERS = {
    "tape.csv": write_csv,
    "tape.parquet": lambda path, table: parquet.write_table(table, path),
    "tape.arrow": lambda path, table: feather.write_feather(table, str(path), compression="uncompressed"),
    "tape.arrows": write_stream,
}


def csv_tape(text: str, **options: Any) -> Tape:
    return read_tape(io.BytesIO(text.encode()), format="csv", **options)


def columns_of(tape: Tape) -> Any:
    """The arrays of the columns; their declared types are those of the wire."""
    return tape.columns


def refused(text: str, **options: Any) -> str:
    with pytest.raises(TapeFileError) as caught:
        csv_tape(text, **options)
    return str(caught.value)


@pytest.mark.parametrize("file", WRITERS)
def test_every_format_gives_the_same_columns(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    WRITERS[file](path, pa.table(COLUMNS))
    for source in (path, str(path), path.open("rb")):
        columns = columns_of(read_tape(source))
        np.testing.assert_array_equal(columns.balance, COLUMNS["balance"])
        np.testing.assert_array_equal(columns.annual_rate, COLUMNS["annual_rate"])
        np.testing.assert_array_equal(columns.remaining_term, [360, 177, 1])
        np.testing.assert_array_equal(columns.age, [0, np.nan, 12])
        assert list(columns.loan_id) == ["a", "b", None]
        assert list(columns.group) == ["prime", "auto", "prime"]


@pytest.mark.parametrize("file", WRITERS)
def test_batches_joined_are_the_whole_tape(file: str, tmp_path: Path) -> None:
    path = tmp_path / file
    n = 1003
    count = np.arange(n) + 1
    table = pa.table({"balance": count * 1.0, "annual_rate": np.full(n, 0.05), "remaining_term": count})
    WRITERS[file](path, table)
    batches = list(iter_tape(path, batch_size=100))
    assert [len(batch) for batch in batches] == [100] * 10 + [3]
    joined = np.concatenate([columns_of(batch).balance for batch in batches])
    np.testing.assert_array_equal(joined, np.arange(n) + 1.0)


def test_a_source_that_cannot_seek_is_read() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from engine.tape_files import read_tape; "
         "print(len(read_tape(sys.stdin.buffer, format='csv')))"],
        input=b"balance,annual_rate,remaining_term\n1,0.05,1\n2,0.05,1\n", capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == b"2"


@pytest.mark.parametrize("name", COLUMN_NAMES)
def test_own_names_and_aliases_are_found_in_any_spelling(name: str) -> None:
    assert column_of(name) == (name, True)
    assert column_of(name.upper().replace("_", " ")) == (name, True)
    for alias in ALIASES[name]:
        assert column_of(f" {alias.title().replace('_', '-')} ") == (name, False)


def test_no_alias_stands_for_two_columns() -> None:
    spelled = [alias.replace("_", "") for aliases in ALIASES.values() for alias in aliases]
    assert len(spelled) == len(set(spelled))


def test_lender_headers_are_read_and_other_columns_ignored() -> None:
    columns = columns_of(csv_tape("Borrower,Current UPB,Note Rate,WAM,wala\nJo,1000,0.05,12,3\n"))
    assert (columns.balance[0], columns.annual_rate[0]) == (1000, 0.05)
    assert (columns.remaining_term[0], columns.age[0]) == (12, 3)


def test_mapping_is_preferred_to_names() -> None:
    text = "balance,cutoff,annual_rate,remaining_term\n1,2,0.05,12\n"
    columns = columns_of(csv_tape(text, mapping={"cutoff": "balance"}))
    assert columns.balance[0] == 2


@pytest.mark.parametrize("header", ["rate_pct", "Interest Rate (%)", "COUPON PERCENT", "annual_rate_percentage"])
def test_percent_header_makes_decimals(header: str) -> None:
    columns = columns_of(csv_tape(f"balance,{header},remaining_term\n1,6.5,12\n"))
    assert columns.annual_rate[0] == 0.065


def test_percent_header_makes_decimals_of_stored_numbers(tmp_path: Path) -> None:
    table = pa.table({"balance": [1.0], "rate_pct": [6.5], "remaining_term": [12], "servicing_fee_bps": [25]})
    parquet.write_table(table, tmp_path / "tape.parquet")
    columns = columns_of(read_tape(tmp_path / "tape.parquet"))
    assert (columns.annual_rate[0], columns.servicing_fee[0]) == (0.065, 0.0025)


def test_percent_cells_make_decimals_beside_plain_ones() -> None:
    columns = columns_of(csv_tape("balance,rate,remaining_term\n1,6.5%,12\n1,0.07,12\n1,8 %,12\n"))
    assert list(columns.annual_rate) == [0.065, 0.07, 0.08]


def test_percent_cell_below_a_percent_header_is_divided_once() -> None:
    columns = columns_of(csv_tape("balance,rate_pct,remaining_term\n1,6.5%,12\n1,7,12\n"))
    assert list(columns.annual_rate) == [0.065, 0.07]


def test_rate_without_a_unit_is_left_for_the_validation_to_refuse() -> None:
    tape = csv_tape("balance,rate,remaining_term\n1,6.5,12\n")
    with pytest.raises(ValueError, match=r"annual_rate\[0\] is 6.5; expected .*0\.065"):
        tape.arrays()


def test_money_may_have_a_currency_sign_and_thousands() -> None:
    columns = columns_of(csv_tape('balance,rate,remaining_term\n"$1,234,567.50",0.05,12\n100,0.05,12\n'))
    assert list(columns.balance) == [1_234_567.5, 100]


def test_misplaced_comma_is_refused() -> None:
    assert "row 1, column 'balance' is '12,34'" in refused('balance,rate,remaining_term\n"12,34",0.05,12\n')


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiter_is_that_of_the_header(delimiter: str) -> None:
    text = "balance,rate,remaining_term\n1,0.05,12\n".replace(",", delimiter)
    assert len(csv_tape(text)) == 1


def test_byte_order_mark_and_windows_line_ends_are_read() -> None:
    assert len(csv_tape("\ufeffbalance,rate,remaining_term\r\n1,0.05,12\r\n")) == 1


def test_blanks_take_their_defaults() -> None:
    header = "balance,rate,remaining_term,servicing_fee,io_term,amortization,payment,group\n"
    columns = columns_of(csv_tape(header + "1,0.05,12,,,,,\n1,0.05,12,0.0025,6,Level Pay,NA,x\n"))
    assert list(columns.servicing_fee) == [0, 0.0025]
    assert list(columns.interest_only_term) == [0, 6]
    assert list(columns.amortization) == ["level_pay", "level_pay"]
    assert np.isnan(columns.payment).all()
    assert list(columns.group) == [None, "x"]


def test_numbers_as_loan_ids_become_text(tmp_path: Path) -> None:
    parquet.write_table(pa.table(COLUMNS | {"loan_id": [7, 8, 9]}), tmp_path / "tape.parquet")
    columns = columns_of(read_tape(tmp_path / "tape.parquet"))
    assert list(columns.loan_id) == ["7", "8", "9"]


def test_read_tape_passes_the_validation() -> None:
    arrays = csv_tape("balance,rate,remaining_term,age,group\n1000,0.05,12,,x\n2000,0.06,24,3,\n").arrays()
    assert (arrays.term.tolist(), arrays.age.tolist(), arrays.groups) == ([12, 24], [0, 3], ("x",))


def test_unreadable_cell_is_named_by_row_and_column() -> None:
    rows = "".join(f"{i},0.05,12\n" for i in range(1, 20))
    message = refused(f"UPB,rate,remaining_term\n{rows}abc,0.05,12\nx,1,2\n")
    assert "row 20, column 'UPB' is 'abc'; expected a number" in message


def test_unreadable_cell_in_a_later_batch_has_its_row_in_the_file(tmp_path: Path) -> None:
    rows = "".join(f"{i},0.05,12\n" for i in range(1, 251))
    (tmp_path / "tape.csv").write_text(f"upb,rate,wam\n{rows}1,0.05,?\n")
    with pytest.raises(TapeFileError, match=r"row 251, column 'wam' is '\?'; expected a number"):
        list(iter_tape(tmp_path / "tape.csv", batch_size=100))


def test_blank_needed_cell_is_refused() -> None:
    assert "row 2, column 'wam' is blank" in refused("upb,rate,wam\n1,0.05,12\n1,0.05,\n")


def test_every_unreadable_cell_is_told_by_row() -> None:
    message = refused("upb,rate,wam\n1,x,12\n,0.05,y\nz,0.05,1.5\n1,0.05,12\n")
    told = [line.partition(", ")[2] for line in message.splitlines()]
    assert sorted(told) == [
        "row 1, column 'rate' is 'x'; expected a number",
        "row 2, column 'upb' is blank; every loan needs it",
        "row 2, column 'wam' is 'y'; expected a number",
        "row 3, column 'upb' is 'z'; expected a number",
        "row 3, column 'wam' is 1.5; expected whole months",
    ]
    assert [line.split(",")[0] for line in told] == ["row 1", "row 2", "row 2", "row 3", "row 3"]


def test_a_hundred_unreadable_cells_are_told() -> None:
    message = refused("upb,rate,wam\n" + "x,0.05,12\n" * 5000)
    assert [f"row {i}," in line for i, line in enumerate(message.splitlines(), 1)] == [True] * 100


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "-nan"])
def test_word_for_no_number_is_shown_where_one_is_needed(word: str) -> None:
    assert f"row 2, column 'wam' is '{word}'; every loan needs a number" in refused(
        f"upb,rate,wam\n1,0,1\n1,0,{word}\n"
    )


OPEN_QUOTES = {
    "last": '2,0.05,12,"g,n',
    "first": '"2,0.05,12,g,n',
    "ignored": '2,0.05,12,g,"n',
    "after_an_inch": '2,0.05,12,6" pipe,"n',
    "doubled": '2,0.05,12,"g"",n',
}


@pytest.mark.parametrize("line", OPEN_QUOTES.values(), ids=OPEN_QUOTES)
@pytest.mark.parametrize("rest", [20, 400_000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quote_that_is_not_closed_is_refused_by_its_row(line: str, rest: int, end: str, tmp_path: Path) -> None:
    rows = ["balance,rate,wam,group,note", "1,0.05,12,g,n", "", line, *["3,0.05,12,g,n"] * rest]
    (tmp_path / "tape.csv").write_bytes((end.join(rows) + end).encode())
    with pytest.raises(TapeFileError, match="row 2 has a quote that is not closed"):
        read_tape(tmp_path / "tape.csv")
    with pytest.raises(TapeFileError, match="row 2 has a quote that is not closed"):
        list(iter_tape(tmp_path / "tape.csv", batch_size=7000))


def test_quote_that_a_later_quote_closes_is_refused() -> None:
    text = 'balance,rate,wam,group\n1,0.05,12,"g\n2,0.05,12,g\n3,0.05,12,"g\n4,0.05,12,g\n'
    assert "row 1 has a quote that is not closed" in refused(text)


def test_quote_left_open_in_the_header_is_refused() -> None:
    assert "the header has a quote" in refused('balance,rate,wam,"note\n1,0.05,12,g\n2,0.05,12,g\n')


@pytest.mark.parametrize("cell", ['"a,b"', '"a ""b"", c"', '"""a"', '6" pipe', '""', '"a"b', '"a,"""'])
def test_quotes_that_are_closed_are_read(cell: str, tmp_path: Path) -> None:
    rows = f"1,0.05,12,{cell}\n\n" * 3
    (tmp_path / "tape.csv").write_text(f"balance,rate,wam,group\n{rows}")
    assert len(read_tape(tmp_path / "tape.csv")) == 3
    assert [len(tape) for tape in iter_tape(tmp_path / "tape.csv", batch_size=2)] == [2, 1]


def test_fraction_of_a_month_is_refused() -> None:
    assert "row 1, column 'wam' is 12.5; expected whole months" in refused("upb,rate,wam\n1,0.05,12.5\n")


def test_row_with_too_few_cells_is_named(tmp_path: Path) -> None:
    text = "upb,rate,wam\n1,0.05,12\n1,0.05\n"
    assert "cannot be read: CSV parse error: row 2: Expected 3 columns, got 2" in refused(text)
    (tmp_path / "tape.csv").write_text(text)
    with pytest.raises(TapeFileError, match="row 2: Expected 3 columns, got 2"):
        list(iter_tape(tmp_path / "tape.csv"))


def test_row_with_too_few_cells_far_down_is_named(tmp_path: Path) -> None:
    rows = "1,0.05,12\n" * 600_000
    (tmp_path / "tape.csv").write_text(f"upb,rate,wam\n{rows}1,0.05\n")
    with pytest.raises(TapeFileError, match="row 600001: Expected 3 columns, got 2"):
        list(iter_tape(tmp_path / "tape.csv"))


@pytest.mark.parametrize(
    ("first", "second", "how"),
    [
        ("upb", "current_balance", " (a mapping can say which)"),
        ("balance", "current_balance", " (a mapping can say which)"),
        ("Balance", "balance", " (a mapping can say which)"),
        ("balance", "balance", ""),
        ("upb", "upb", ""),
    ],
)
@pytest.mark.parametrize("file", WRITERS)
def test_two_columns_for_one_are_refused(file: str, first: str, second: str, how: str, tmp_path: Path) -> None:
    cells = [pa.array(each) for each in ([1.0], [2.0], [0.05], [12])]
    WRITERS[file](tmp_path / file, pa.table(cells, names=[first, second, "rate", "wam"]))
    for read in (read_tape, iter_tape):
        with pytest.raises(TapeFileError) as caught:
            read(tmp_path / file)
        assert str(caught.value).endswith(f" has '{first}', '{second}' for balance; expected one column{how}")


def test_a_mapping_says_which_of_two_columns_it_is() -> None:
    text = "upb,balance,rate,wam\n1,2,0.05,12\n"
    assert columns_of(csv_tape(text, mapping={"upb": "balance"})).balance[0] == 1
    assert columns_of(csv_tape(text, mapping={"balance": "balance"})).balance[0] == 2


def test_a_column_that_a_mapping_names_and_that_comes_twice_is_refused() -> None:
    message = refused("x,x,rate,wam\n1,2,0.05,12\n", mapping={"x": "balance"})
    assert message.endswith("has 'x', 'x' for balance; expected one column")


def test_missing_needed_columns_are_named_with_what_the_file_has() -> None:
    message = refused("upb,colour\n1,red\n")
    assert "lacks annual_rate (or rate, interest_rate" in message
    assert "remaining_term" in message
    assert "'colour'" in message


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"nope": "balance"}, "has no column 'nope'"),
        ({"x": "colour"}, "mapping of 'x' is 'colour'; expected one of balance"),
        ({"x": "balance", "y": "balance"}, "'x', 'y' for balance"),
    ],
)
def test_wrong_mapping_is_refused(mapping: dict[str, str], message: str) -> None:
    assert message in refused("x,y,rate,wam\n1,1,0.05,12\n", mapping=mapping)


@pytest.mark.parametrize("text", ["", "\n\n", "upb,rate,wam\n"])
def test_empty_file_is_refused(text: str, tmp_path: Path) -> None:
    assert "empty" in refused(text) or "holds no loans" in refused(text)
    (tmp_path / "tape.csv").write_text(text)
    with pytest.raises(TapeFileError, match=r"is empty|holds no loans"):
        list(iter_tape(tmp_path / "tape.csv"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("tape.xlsx", "ending '.xlsx'; expected one of .csv"), ("tape", "has no ending"), ("none.csv", "does not exist")],
)
def test_path_that_cannot_be_a_tape_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TapeFileError, match=message):
        read_tape(tmp_path / name)


@pytest.mark.parametrize("file", ["tape.parquet", "tape.arrow"])
def test_file_that_is_not_what_its_ending_says_is_refused(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(b"balance,rate\n" * 20)
    with pytest.raises(TapeFileError, match="cannot be read"):
        read_tape(tmp_path / file)


def test_text_in_another_encoding_is_refused() -> None:
    with pytest.raises(TapeFileError, match="cannot be read"):
        read_tape(io.BytesIO("upb,rate,wam,group\n1,0.05,12,Köln\n".encode("latin-1")), format="csv")


def test_million_rows_are_read_in_seconds(tmp_path: Path) -> None:
    n = 1_000_000
    columns = {"upb": np.arange(n) + 0.25, "rate": np.full(n, 0.065), "wam": np.full(n, 360), "age": np.arange(n) % 99}
    write_table(tmp_path / "tape.csv", columns)
    start = time.perf_counter()
    tape = read_tape(tmp_path / "tape.csv")
    assert len(tape) == n
    assert time.perf_counter() - start < 10


def test_engine_is_imported_without_pyarrow() -> None:
    code = "import engine.tape_files, engine.table_files, sys; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow", "feather", "arrows"])
def test_written_table_reads_back(ending: str, tmp_path: Path) -> None:
    rates, terms = np.array([0.05, 0.1]), np.array([1, 2])
    columns = {"balance": np.array([1.5, 1e9 / 3]), "annual_rate": rates, "remaining_term": terms}
    write_table(tmp_path / f"t.{ending}", columns)
    read = columns_of(read_tape(tmp_path / f"t.{ending}"))
    np.testing.assert_array_equal(read.balance, columns["balance"])


def test_written_json_is_what_the_service_answers(tmp_path: Path) -> None:
    write_table(tmp_path / "t.json", {"period": np.array([1, 2]), "interest": np.array([0.5, 0.25])})
    assert json.loads((tmp_path / "t.json").read_text()) == {"columns": {"period": [1, 2], "interest": [0.5, 0.25]}}


def test_table_with_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TapeFileError, match=r"expected one of \.csv"):
        write_table(tmp_path / "t.xlsx", {"a": np.array([1.0])})


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\n\n", b"\r\n", b"\r", b""]), max_size=30))
def test_lines_that_are_not_empty_are_counted(parts: list[bytes]) -> None:
    text = b"".join(parts)
    expected = sum(bool(line) for line in text.replace(b"\r", b"\n").split(b"\n"))
    assert count_lines(io.BytesIO(text)) == expected


def test_plain_numbers_of_parquet_are_read_as_they_are_and_others_are_looked_at(tmp_path: Path) -> None:
    columns = {
        "balance": pa.array([1000.0, 2000.0, 3000.5]), "annual_rate": pa.array([0.05, 0.06, 0.07]),
        "remaining_term": pa.array([12, 24, 36], pa.int32()), "age": pa.array([0, None, 2], pa.int32()),
        "payment": pa.array([10.0, float("nan"), 12.0]),
    }  # fmt: skip
    parquet.write_table(pa.table(columns), tmp_path / "tape.parquet", row_group_size=2)
    tape = read_tape(tmp_path / "tape.parquet")
    assert tape.columns is not None
    assert tape.columns.balance.tolist() == [1000.0, 2000.0, 3000.5]
    assert (tape.columns.remaining_term.tolist(), tape.columns.remaining_term.dtype) == ([12, 24, 36], np.int64)
    assert np.isnan(tape.columns.age).tolist() == np.isnan(tape.columns.payment).tolist() == [False, True, False]
    for name in ("balance", "annual_rate", "remaining_term"):
        assert getattr(tape.columns, name).flags.writeable
    parquet.write_table(
        pa.table({**columns, "balance": pa.array([1.0, float("nan"), 2.0])}), tmp_path / "blank.parquet"
    )
    with pytest.raises(TapeFileError, match="row 2, column 'balance'"):
        read_tape(tmp_path / "blank.parquet")
