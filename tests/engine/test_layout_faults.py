"""Files of a layout with faults: what is refused, what is left out and told, and hostile ones."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest

from engine.errors import TapeFileError
from engine.layout_options import LayoutTape
from engine.layouts import LAYOUTS
from engine.tape_files import read_tape
from tests.engine.layout_world import (
    FANNIE,
    FILES,
    LOAN,
    asset,
    columns_of,
    ex102,
    fannie,
    piped,
    refused,
    report_of,
    tape,
)

# What is faulty


def test_faulty_rows_refuse_the_file_and_are_named() -> None:
    source = fannie({}, {"CURRENT_UPB": "12x"}, {"CURR_RATE": "", "ORIG_RATE": ""}, {"ZERO_BAL_CODE": "77"},
                    {"MATR_DT": "132052"}, {"ADJ_REM_MONTHS": "12.5"})  # fmt: skip
    message = refused(source)
    assert "has 5 faulty rows (on_error='skip' leaves them out)" in message
    for part in (
        "row 2, column 'CURRENT_UPB' is '12x'; expected a number", "row 3, column 'CURR_RATE' is blank",
        "row 4, column 'ZERO_BAL_CODE' is '77'; expected one of 01",
        "row 5, column 'MATR_DT' is '132052'; expected a date",
        "row 6, column 'ADJ_REM_MONTHS' is '12.5'; expected whole months",
    ):  # fmt: skip
        assert part in message


def test_faulty_rows_can_be_left_out_and_are_told() -> None:
    read = tape(fannie({}, {"CURRENT_UPB": "12x"}, {"CURRENT_UPB": "9z"}, {"CURR_RATE": "", "ORIG_RATE": ""}),
                on_error="skip")  # fmt: skip
    report = report_of(read)
    assert (len(read), report.rows, report.skipped) == (1, 4, 3)
    found = {(p.kind, p.column): (p.count, p.rows, p.example) for p in report.problems}
    assert found == {("unreadable", "CURRENT_UPB"): (2, [2, 3], "12x"), ("missing", "CURR_RATE"): (1, [4], "")}
    assert "2 x unreadable in column 'CURRENT_UPB' (row 2, 3) is '12x'; expected a number" in [
        problem.line() for problem in report.problems
    ]


def test_a_loan_that_is_late_by_less_than_nothing_is_faulty() -> None:
    message = refused(fannie({}, {"DLQ_STATUS": "-1"}))
    assert "row 2, column 'DLQ_STATUS' is '-1'; expected whole months of 0 or more" in message
    late = "<currentDelinquencyStatus>-30</currentDelinquencyStatus>"
    assert "'currentDelinquencyStatus' is '-30'; expected a number of 0 or more" in refused(ex102(asset(1, more=late)))
    read = tape(fannie({}, {"DLQ_STATUS": "-1"}), on_error="skip")
    assert (len(read), report_of(read).skipped) == (1, 1)


def test_a_loan_past_its_maturity_with_a_balance_is_faulty() -> None:
    message = refused(fannie({"ADJ_REM_MONTHS": "0"}))
    assert "column 'ADJ_REM_MONTHS' is '0'; expected months in [1, 1200]" in message


def test_rows_of_another_length_are_faulty_and_later_rows_keep_their_numbers() -> None:
    text = fannie({}, {}, {"CURRENT_UPB": "bad"}).getvalue().decode().splitlines()
    text.insert(1, "100|200|300")
    source = "\n".join(text).encode()
    assert "row 2 has 3 columns; expected 113" in refused(io.BytesIO(source))
    report = report_of(tape(io.BytesIO(source), on_error="skip"))
    assert (report.rows, report.skipped) == (4, 2)
    found = {problem.kind: problem.rows for problem in report.problems}
    assert found == {"unreadable": [4], "wrong_columns": [2]}


def test_a_loan_that_comes_again_is_faulty() -> None:
    source = fannie({"LOAN_ID": "100000000007"}, {"LOAN_ID": "100000000007"})
    assert "1 loans again in column 'LOAN_ID': '100000000007'" in refused(source)
    read = tape(source, on_error="skip")
    assert (len(read), report_of(read).problems[0].kind) == (1, "duplicate")


def test_a_file_of_another_layout_says_what_is_missing() -> None:
    message = refused(FILES["lending_club"], layout="esma_auto")
    assert "not in the layout esma_auto: its header lacks AUTL30, AUTL40, AUTL6" in message
    message = refused(piped(FANNIE, 20, LOAN), layout="fannie_mae")
    assert "its first row has 20 columns separated by '|'; expected 108, 110, 113" in message
    assert "lacks absee/rmbs/assetdata" in refused(FILES["sec_auto"], layout="sec_rmbs")
    assert "layout is 'ginnie'; expected one of fannie_mae" in refused(fannie({}), layout="ginnie")


def test_a_text_file_that_shows_no_layout_is_refused_with_the_choice(tmp_path: Path) -> None:
    path = tmp_path / "loans.txt"
    path.write_text("a|b|c\n1|2|3\n")
    assert "shows no layout; expected one of .csv" in refused(path)


def test_columns_of_our_names_need_no_layout() -> None:
    read = read_tape(io.BytesIO(b"balance,rate,remaining_term\n1,0.05,12\n"), format="csv")
    assert not isinstance(read, LayoutTape)
    with pytest.raises(TapeFileError, match="shows no layout; on_error, period and origination"):
        read_tape(io.BytesIO(b"balance,rate,remaining_term\n1,0.05,12\n"), format="csv", on_error="skip")


def test_unknown_choice_of_on_error_is_refused() -> None:
    assert "on_error is 'ignore'; expected one of refuse, skip" in refused(fannie({}), on_error="ignore")


# What is kept beside the tape


def test_extra_can_be_all_none_or_some() -> None:
    source = fannie({"STATE": "CA", "SELLER": "Bank"})
    assert {"STATE", "SELLER"} <= set(tape(source).extra)
    assert not {"STATE", "SELLER"} & set(tape(source, extra=False).extra)
    assert {"STATE", "SELLER"} & set(tape(source, extra=["STATE"]).extra) == {"STATE"}


def test_mapping_names_a_column_in_place_of_the_layouts() -> None:
    read = tape(fannie({"STATE": "CA"}), mapping={"STATE": "group", "REM_MONTHS": "remaining_term"})
    assert (columns_of(read).group[0], columns_of(read).remaining_term[0]) == ("CA", 335)
    assert "has no column 'NOPE'" in refused(fannie({}), mapping={"NOPE": "group"})


def test_a_column_that_is_read_and_comes_twice_is_refused() -> None:
    lines = FILES["lending_club"].read_text().replace('"grade","sub_grade"', '"grade","int_rate"').encode()
    message = "has the column 'int_rate' 2 times; expected it once"
    assert message in refused(io.BytesIO(lines))
    # Of those that are not read both are kept.
    untold = FILES["lending_club"].read_text().replace('"sub_grade","emp_title"', '"title","emp_title"').encode()
    assert {"title", "title (2)"} <= set(tape(io.BytesIO(untold)).extra)


@pytest.mark.parametrize(
    ("element", "again", "shown"),
    [
        ("assetNumber", "7", "'1;7'; expected one text"),
        ("reportingPeriodActualEndBalanceAmount", "3", "'25000.00;3'; expected a number"),
        ("remainingTermToMaturityNumber", "3", "'60;3'; expected whole months"),
    ],
)
def test_an_element_that_is_read_and_comes_twice_is_faulty(element: str, again: str, shown: str) -> None:
    more = f"<{element}>{again}</{element}>"
    message = refused(ex102(asset(1, more=more), asset(2)), layout="sec_auto")
    assert message.endswith(f"row 1, column '{element}' is {shown}")
    kept = tape(ex102(asset(1, more=more), asset(2)), layout="sec_auto", on_error="skip")
    assert list(columns_of(kept).loan_id) == ["2"]


def test_two_columns_that_a_mapping_names_for_one_are_refused() -> None:
    message = "mapping names 'STATE' and 'SELLER' for group; expected one column"
    assert message in refused(fannie({}), mapping={"STATE": "group", "SELLER": "group"})


# Hostile and untidy files


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_line_ends_of_every_kind_and_a_mark_are_read(end: bytes) -> None:
    lines = fannie({}, {}, {}).getvalue().splitlines()
    mixed = b"\xef\xbb\xbf" + lines[0] + b"\n" + lines[1] + b"\r\n" + lines[2] + end
    assert len(tape(io.BytesIO(mixed))) == 3


def test_packed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "performance.txt.gz"
    path.write_bytes(gzip.compress(fannie({}, {}).getvalue()))
    assert len(tape(path)) == 2
    path.write_bytes(gzip.compress(fannie({}).getvalue())[:40])
    assert "cannot be read" in refused(path)


BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    "head",
    [BOMB, '<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd">', '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]>'],
)
def test_document_types_and_entities_are_refused(head: str) -> None:
    assert "declares a document type or entities" in refused(ex102(asset(1), head=head), layout="sec_auto")


def test_broken_and_deep_xml_are_refused() -> None:
    whole = ex102(asset(1)).getvalue()
    assert "cannot be read" in refused(io.BytesIO(whole[:-20]), layout="sec_auto")
    assert "nests elements" in refused(ex102("<a>" * 40 + "</a>" * 40), layout="sec_auto")


def test_a_file_without_loans_says_what_became_of_the_rows() -> None:
    message = refused(fannie({"ZERO_BAL_CODE": "01", "CURRENT_UPB": "0"}))
    assert "holds no loans of 2024-12: of 1 rows 1 prepaid have left the pool" in message
    assert "empty" in refused(io.BytesIO(b"\n"), layout="fannie_mae")


def test_binary_rubbish_is_refused_in_words() -> None:
    rubbish = bytes(np.random.default_rng(1).integers(0, 256, 5_000, dtype=np.uint8))
    for name in LAYOUTS:
        assert refused(io.BytesIO(rubbish), layout=name)
