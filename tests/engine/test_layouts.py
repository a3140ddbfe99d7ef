"""Layouts of loan files: units, dates, codes and status by hand, what is left out and told, and hostile files."""

import gzip
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.errors import TapeFileError
from engine.layout_files import BLOCK
from engine.layout_options import LayoutTape
from engine.layouts import LAYOUTS
from engine.layouts.declaration import IN_POOL, LEFT_POOL
from engine.tape_files import iter_tape, read_tape

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "samples" / "layouts"
SCRIPT = ROOT / "scripts" / "make_layout_samples.py"
FANNIE = LAYOUTS["fannie_mae"].columns
FREDDIE = LAYOUTS["freddie_mac"].columns
FILES = {path.stem: path for path in sorted(SAMPLES.iterdir())}

# A 5.5% loan of 240,000 over 30 years, in its 25th month; see each test for what becomes of it.
LOAN = {
    "LOAN_ID": "100000000001", "ACT_PERIOD": "122024", "ORIG_RATE": "5.500", "CURR_RATE": "5.500",
    "ORIG_UPB": "240000.00", "CURRENT_UPB": "233345.67", "ORIG_TERM": "360", "ORIG_DATE": "102022",
    "FIRST_PAY": "122022", "LOAN_AGE": "25", "REM_MONTHS": "335", "ADJ_REM_MONTHS": "333", "MATR_DT": "112052",
    "PRODUCT": "FRM", "DLQ_STATUS": "00",
}  # fmt: skip
MORTGAGE = {
    "LOAN_SEQUENCE_NUMBER": "F22Q40000001", "MONTHLY_REPORTING_PERIOD": "202412", "CURRENT_ACTUAL_UPB": "200000.00",
    "CURRENT_LOAN_DELINQUENCY_STATUS": "0", "LOAN_AGE": "20", "REMAINING_MONTHS_TO_LEGAL_MATURITY": "340",
    "CURRENT_INTEREST_RATE": "6.125",
}  # fmt: skip


def piped(columns: tuple[str, ...], count: int, *loans: dict[str, str]) -> io.BytesIO:
    lines = ["|".join(loan.get(name, "") for name in columns[:count]) for loan in loans]
    return io.BytesIO(("\n".join(lines) + "\n").encode())


def fannie(*changes: dict[str, str]) -> io.BytesIO:
    """The loan above once for each change, under ids that differ."""
    loans = [LOAN | {"LOAN_ID": f"10000000{i:04d}"} | change for i, change in enumerate(changes)]
    return piped(FANNIE, 113, *loans)


def tape(source: Any, **options: Any) -> LayoutTape:
    read = read_tape(source, **options)
    assert isinstance(read, LayoutTape)
    return read


def columns_of(read: engine.Tape) -> Any:
    return read.columns


def report_of(read: LayoutTape) -> engine.ReadReport:
    assert read.report is not None
    return read.report


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(TapeFileError) as caught:
        read_tape(source, **options)
    return str(caught.value)


# The declarations


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_a_layout_reads_what_every_loan_needs_and_cites_its_source(layout: Any) -> None:
    ours = {reading.ours for reading in layout.readings}
    assert {"loan_id", "balance", "annual_rate"} <= ours
    assert {"remaining_term", "maturity_date", "original_term"} & ours
    assert len(ours) == len(layout.readings)
    assert all(layout.sources)
    assert all(len(set(reading.theirs)) == len(reading.theirs) for reading in layout.readings)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_status_codes_map_to_the_statuses_alone(layout: Any) -> None:
    for reading in layout.readings:
        if reading.ours in ("left_pool", "account_status", "relief", "seizure"):
            assert set(reading.codes.values()) - {""} <= {*IN_POOL, *LEFT_POOL}


def test_every_name_by_position_is_unique_and_used_names_exist() -> None:
    for layout in LAYOUTS.values():
        if layout.columns:
            assert len(set(layout.columns)) == len(layout.columns) >= max(layout.counts)
    assert (FANNIE[43], FANNIE[39], FANNIE[107]) == ("ZERO_BAL_CODE", "DLQ_STATUS", "ADR_UPB")


# The samples


def test_script_writes_the_committed_samples() -> None:
    spec = importlib.util.spec_from_file_location("make_layout_samples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.samples()
    assert sorted(written) == sorted(path.name for path in SAMPLES.iterdir())
    for name, text in written.items():
        assert (SAMPLES / name).read_bytes() == text.encode()
    assert set(FILES) == set(LAYOUTS)


@pytest.mark.parametrize("name", FILES)
def test_each_sample_is_detected_read_and_projected(name: str) -> None:
    read = tape(FILES[name])
    report = report_of(read)
    assert report.layout == name
    assert report.loans == len(read) == len(read.arrays())
    assert report.rows == report.loans + report.other_periods + report.skipped + sum(report.left_pool.values())
    assert report.problems == []
    balance = columns_of(read).balance
    cashflows = engine.project(engine.ProjectionRequest(tape=read))
    assert cashflows.opening_balance == pytest.approx(balance.sum())
    paid = cashflows.principal.sum() + cashflows.loss.sum()
    assert paid == pytest.approx(balance.sum(), rel=1e-9)
    assert set(read.extra["status"]) <= set(IN_POOL)
    assert all(len(values) == len(read) for values in read.extra.values())


def test_floating_terms_become_columns_where_they_are_asked_for() -> None:
    kept = tape(FILES["fannie_mae_mbs"])
    assert columns_of(kept).index is None
    read = tape(FILES["fannie_mae_mbs"], floating=True)
    columns = columns_of(read)
    names = {name for name in columns.index if name}
    floats = np.array([bool(name) for name in columns.index])
    assert names
    assert not floats.all()
    assert "index" not in read.extra
    np.testing.assert_array_equal(columns.margin[floats], kept.extra["margin"][floats])
    assert np.isnan(columns.first_reset[~floats]).all()
    with pytest.raises(engine.AssumptionError, match="has no rates"):
        engine.project(engine.ProjectionRequest(tape=read))
    rates = dict.fromkeys(names, engine.FlatRate(rate=0.08))
    moved = engine.project(engine.ProjectionRequest(tape=read, assumptions=engine.Assumptions(rates=rates)))
    still = engine.project(engine.ProjectionRequest(tape=kept))
    assert moved["interest"].sum() > still["interest"].sum()


# First loans of the samples, read off the files: id, balance, rate, remaining term, age.
FIRST = {
    "fannie_mae": ("100000000000", 100_256.24, 0.01812, 146, 34),
    "fannie_mae_mbs": ("77000000", 263_810.31, 0.06751, 347, 13),
    "freddie_mac": ("F20Q10000000", 132_483.85, 0.03643, 313, 47),
    # May 2017 to December 2018 are 19 months, of 60.
    "lending_club": ("68000000", 13_499.25, 0.1213, 41, 19),
    # The first payment was in the reporting month itself.
    "sec_auto": ("2024-1 - 000000", 20_426.84, 0.09179, 59, 1),
    # October 2020 to December 2024 are 50 months; December 2024 to October 2045 are 250.
    "esma_residential": ("X00000", 142_021.47, 0.03215, 250, 50),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_loan_of_a_sample_is_as_its_line_says(name: str) -> None:
    columns = columns_of(tape(FILES[name]))
    ident, balance, rate, term, age = FIRST[name]
    assert columns.loan_id[0] == ident
    assert columns.balance[0] == balance
    assert columns.annual_rate[0] == pytest.approx(rate, abs=1e-15)
    assert (columns.remaining_term[0], columns.age[0]) == (term, age)


def test_batches_of_a_layout_are_the_whole_tape() -> None:
    whole = columns_of(read_tape(FILES["fannie_mae"]))
    parts = list(iter_tape(FILES["fannie_mae"]))
    np.testing.assert_array_equal(np.concatenate([columns_of(part).balance for part in parts]), whole.balance)


def test_a_file_of_many_blocks_is_read_in_order_and_its_rows_keep_their_numbers() -> None:
    n = 50_000
    line = fannie({}).getvalue().decode().strip().replace("100000000000", "{:012d}")
    lines = [line.format(i + 1) for i in range(n)]
    lines[35_000] = lines[35_000].replace("|233345.67|", "|no|")
    lines[49_998] = lines[49_998].replace("|00|", "|00|7|")
    # The first block of rows holds no loan in the pool, and its rows are counted all the same.
    for i in range(24_000):
        lines[i] = lines[i].replace("|233345.67|", "|0|")
    source = io.BytesIO("\n".join([*lines, "too|short", "too|short"]).encode())
    assert len(source.getvalue()) > 2 * BLOCK
    read = tape(source, on_error="skip", extra=False)
    report = report_of(read)
    assert (report.rows, report.loans, report.skipped, report.left_pool) == (n + 2, 25_998, 4, {"zero_balance": 24_000})
    assert columns_of(read).loan_id[[0, -1]].tolist() == ["000000024001", "000000050000"]
    found = {problem.kind: (problem.count, problem.rows) for problem in report.problems}
    assert found == {"unreadable": (1, [35_001]), "wrong_columns": (3, [49_999, 50_001, 50_002])}
    parts = list(iter_tape(source, on_error="skip"))
    assert sum(report_of(part).rows for part in parts if isinstance(part, LayoutTape)) == n + 2
    assert "row 35001, column 'CURRENT_UPB' is 'no'" in refused(source)


# Fannie Mae


def test_fannie_mae_units_terms_and_dates() -> None:
    columns = columns_of(tape(fannie({})))
    assert columns.balance[0] == 233_345.67
    assert columns.annual_rate[0] == 0.055
    # The months that curtailments leave come before the legal ones.
    assert columns.remaining_term[0] == 333
    assert (columns.age[0], columns.original_term[0], columns.original_balance[0]) == (25, 360, 240_000)


def test_blank_adjusted_months_give_way_to_the_legal_ones() -> None:
    assert columns_of(tape(fannie({"ADJ_REM_MONTHS": ""}))).remaining_term[0] == 335


def test_fannie_mae_arrears_are_statuses_and_days() -> None:
    read = tape(fannie(*({"DLQ_STATUS": code} for code in ("00", "01", "02", "03", "04", "17", "XX"))))
    assert list(read.extra["status"]) == [
        "current", "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120", "delinquent_120", "unknown",
    ]  # fmt: skip
    np.testing.assert_array_equal(read.extra["days_past_due"], [0, 30, 60, 90, 120, 510, np.nan])
    assert report_of(read).notices == {
        "loans are delinquent and are taken as performing unless rules by status say otherwise": 5
    }
    assert list(columns_of(read).status) == [
        None, "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120", "delinquent_120", None,
    ]  # fmt: skip


def test_forbearance_does_not_hide_arrears() -> None:
    read = tape(fannie({"FORBEARANCE_INDICATOR": "F"}, {"FORBEARANCE_INDICATOR": "F", "DLQ_STATUS": "03"}))
    assert list(read.extra["status"]) == ["forbearance", "delinquent_90"]


def test_loans_that_left_the_pool_are_counted_by_how() -> None:
    gone = {"CURRENT_UPB": "0.00", "CURR_RATE": "", "ADJ_REM_MONTHS": "", "REM_MONTHS": "0"}
    source = fannie(
        {}, gone | {"ZERO_BAL_CODE": "01"}, gone | {"ZERO_BAL_CODE": "01", "MATR_DT": "112024"},
        gone | {"ZERO_BAL_CODE": "09"}, gone | {"ZERO_BAL_CODE": "06"}, {"CURRENT_UPB": "0.00"},
    )  # fmt: skip
    read = tape(source)
    assert len(read) == 1
    expected = {"prepaid": 1, "matured": 1, "liquidated": 1, "repurchased": 1, "zero_balance": 1}
    assert report_of(read).left_pool == expected


def test_the_latest_month_is_the_tape_unless_another_is_asked_for() -> None:
    months = ({"ACT_PERIOD": "112024", "CURRENT_UPB": "5.00"}, {"ACT_PERIOD": "122024"}, {"ACT_PERIOD": "12025"})
    read = tape(fannie(*months))
    # 12025 is January 2025 without its leading zero, as spreadsheets leave it.
    assert (len(read), report_of(read).period, report_of(read).other_periods) == (1, "2025-01", 2)
    earlier = tape(fannie(*months), period="2024-11")
    assert columns_of(earlier).balance[0] == 5
    assert "holds no loans of 2020-01" in refused(fannie(*months), period="2020-01")
    assert "expected a month such as 2024-12" in refused(fannie({}), period="Christmas")


def test_interest_only_months_count_from_the_first_payment() -> None:
    # December 2022 to December 2032 are 120 months, of which 25 are over.
    read = tape(fannie({"IO": "Y", "FIRST_PAY_IO": "122032"}))
    assert columns_of(read).interest_only_term[0] == 120
    assert read.arrays().interest_only[0] == 95


def test_terms_of_a_floating_rate_are_kept_and_told() -> None:
    arm = {
        "PRODUCT": "ARM", "ARM_INDEX": "SOFR", "MARGIN": "2.750", "INTEREST_RATE_CHANGE_DATE": "062025",
        "MONTHS_BETWEEN_SUBSEQUENT_PAYMENT_RESET": "6", "PERIODIC_INTEREST_RATE_CAP": "1.000",
        "LIFETIME_INTEREST_RATE_CAP": "5.000",
    }  # fmt: skip
    read = tape(fannie({}, arm))
    found = {name: values[1] for name, values in read.extra.items()}
    assert found["margin"] == pytest.approx(0.0275)
    # December 2024 to June 2025; the life cap is 5% over the original 5.5%.
    assert (found["first_reset"], found["reset_frequency"]) == (6, 6)
    assert found["life_cap"] == pytest.approx(0.105)
    assert any("floating" in text for text in report_of(read).notices)


# Freddie Mac


def test_freddie_mac_codes_and_deferred_principal() -> None:
    change = [
        {}, {"CURRENT_LOAN_DELINQUENCY_STATUS": "RA"}, {"CURRENT_LOAN_DELINQUENCY_STATUS": "2"},
        {"INTEREST_BEARING_UPB": "190000", "CURRENT_NON_INTEREST_BEARING_UPB": "10000"},
        {"ZERO_BALANCE_CODE": "01", "CURRENT_ACTUAL_UPB": "0"},
    ]  # fmt: skip
    loans = [MORTGAGE | {"LOAN_SEQUENCE_NUMBER": f"F22Q4000000{i}"} | c for i, c in enumerate(change)]
    read = tape(piped(FREDDIE, 32, *loans))
    assert list(read.extra["status"]) == ["current", "reo", "delinquent_60", "current"]
    assert columns_of(read).balance.tolist() == [200_000, 200_000, 200_000, 190_000]
    assert columns_of(read).annual_rate[0] == 0.06125
    assert report_of(read).left_pool == {"prepaid": 1}
    assert any("deferred principal" in text for text in report_of(read).notices)


def test_origination_file_adds_what_the_performance_file_lacks() -> None:
    both = tape(FILES["freddie_mac"], origination=FILES["freddie_mac_origination"])
    alone = tape(FILES["freddie_mac"])
    made = tape(FILES["freddie_mac_origination"])
    np.testing.assert_array_equal(columns_of(both).balance, columns_of(alone).balance)
    original = dict(zip(columns_of(made).loan_id, columns_of(made).original_balance, strict=True))
    assert [original[name] for name in columns_of(both).loan_id] == columns_of(both).original_balance.tolist()
    assert columns_of(alone).original_balance is None
    assert both.extra["PROPERTY_STATE"][0] in ("CA", "TX", "FL", "NY", "OH", "WA")


def test_interest_only_loan_without_dates_is_refused_with_the_reason() -> None:
    origination = LAYOUTS["freddie_mac_origination"].columns
    loan = {
        "LOAN_SEQUENCE_NUMBER": "F22Q40000001", "ORIGINAL_UPB": "100000", "ORIGINAL_INTEREST_RATE": "4.5",
        "ORIGINAL_LOAN_TERM": "360", "INTEREST_ONLY_INDICATOR": "Y", "AMORTIZATION_TYPE": "FRM",
    }  # fmt: skip
    assert "does not say until when" in refused(piped(origination, 32, loan))


# LendingClub, SEC and ESMA


def test_lending_club_words_become_statuses_and_days() -> None:
    header = "id,loan_amnt,term,int_rate,installment,grade,issue_d,loan_status,out_prncp,last_pymnt_d\n"
    words = ("Current", "In Grace Period", "Late (16-30 days)", "Late (31-120 days)", "Default", "Fully Paid",
             "Charged Off", "Does not meet the credit policy. Status:Fully Paid")  # fmt: skip
    rows = [f"{i},10000, 36 months, 13.56%,339.65,C,Dec-2015,{word},5000,Dec-2016" for i, word in enumerate(words)]
    read = tape(io.BytesIO((header + "\n".join(rows)).encode()), format="csv")
    columns = columns_of(read)
    assert list(read.extra["status"]) == ["current", "current", "current", "delinquent_30", "default"]
    np.testing.assert_array_equal(read.extra["days_past_due"], [np.nan, 1, 16, 31, 121])
    assert columns.annual_rate[0] == pytest.approx(0.1356, abs=1e-15)
    assert (columns.original_term[0], columns.age[0], columns.remaining_term[0]) == (36, 12, 24)
    assert (columns.payment[0], columns.group[0]) == (339.65, "C")
    assert report_of(read).left_pool == {"charged_off": 1, "prepaid": 2}


def test_lending_club_notes_are_no_loans() -> None:
    report = report_of(tape(FILES["lending_club"]))
    assert report.rows == 60
    assert report.skipped == 0


def ex102(*loans: str, kind: str = "autoloan", head: str = "") -> io.BytesIO:
    body = "".join(f"<assets>{loan}</assets>" for loan in loans)
    root = f'<assetData xmlns="http://www.sec.gov/edgar/document/absee/{kind}/assetdata">{body}</assetData>'
    return io.BytesIO(f"<?xml version='1.0'?>{head}{root}".encode())


ASSET = (
    "<assetNumber>{id}</assetNumber><reportingPeriodEndingDate>12-31-2024</reportingPeriodEndingDate>"
    "<originalLoanAmount>30000.00</originalLoanAmount><originalLoanTerm>72</originalLoanTerm>"
    "<originalInterestRatePercentage>0.0799</originalInterestRatePercentage>"
    "<reportingPeriodInterestRatePercentage>0.0799</reportingPeriodInterestRatePercentage>"
    "<remainingTermToMaturityNumber>60</remainingTermToMaturityNumber><servicingFeePercentage>0.01</servicingFeePercentage>"
    "<originationDate>12/2023</originationDate><originalFirstPaymentDate>01/2024</originalFirstPaymentDate>"
    "<reportingPeriodActualEndBalanceAmount>{balance}</reportingPeriodActualEndBalanceAmount>{more}"
)


def asset(
    ident: int, balance: str = "25000.00", more: str = "<currentDelinquencyStatus>0</currentDelinquencyStatus>"
) -> str:
    return ASSET.format(id=ident, balance=balance, more=more)


def test_sec_rates_are_decimals_and_repeated_elements_are_joined() -> None:
    more = "<currentDelinquencyStatus>45</currentDelinquencyStatus><subvented>0</subvented><subvented>2</subvented>"
    read = tape(ex102(asset(1, more=more), asset(2)), layout="sec_auto")
    columns = columns_of(read)
    assert (columns.annual_rate[0], columns.servicing_fee[0]) == (0.0799, 0.01)
    # January to December 2024 are twelve payments.
    assert (columns.remaining_term[0], columns.age[0]) == (60, 12)
    assert list(read.extra["status"]) == ["delinquent_30", "current"]
    assert list(read.extra["subvented"]) == ["0;2", None]


def test_sec_zero_balance_and_repossession() -> None:
    gone = [asset(i, "0.00", f"<zeroBalanceCode>{code}</zeroBalanceCode>") for i, code in enumerate((1, 3, 4))]
    kept = asset(
        9,
        more="<currentDelinquencyStatus>75</currentDelinquencyStatus><repossessedIndicator>true</repossessedIndicator>",
    )
    read = tape(ex102(*gone, kept), layout="sec_auto")
    assert report_of(read).left_pool == {"charged_off": 1, "prepaid": 1, "repurchased": 1}
    assert list(read.extra["status"]) == ["repossessed"]


def test_sec_rate_written_as_a_percentage_is_refused() -> None:
    text = asset(1).replace("0.0799", "7.99")
    assert "is '7.99'; expected a rate in [0%, 100%]" in refused(ex102(text), layout="sec_auto")


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name.startswith("esma")])
def test_esma_status_and_no_data_codes(name: str) -> None:
    layout = LAYOUTS[name]
    code = {reading.ours: reading.theirs for reading in layout.readings}
    base = {
        code["balance"][0]: "1000", code["annual_rate"][0]: "2.5", layout.marks[2]: "2024-12-31",
        code["maturity_date"][0]: "2029-12-31", code["origination_date"][0]: "2019-12-31",
        code["amortization"][0]: "FIXE", code["index"][0]: "ND5", code["unsupported"][0]: "MNTH",
        code["days_past_due"][0]: "0",
    }  # fmt: skip
    status = ("PERF", "ARRE", "DFLT", "RNAR", "RDMD", "REOT")
    rows = [base | {code["loan_id"][1]: str(i), code["account_status"][0]: word} for i, word in enumerate(status)]
    rows[1][code["days_past_due"][0]] = "95"
    text = "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
    read = tape(io.BytesIO(text.encode()), format="csv")
    columns = columns_of(read)
    assert list(read.extra["status"]) == ["current", "delinquent_90", "default", "current"]
    assert report_of(read).left_pool == {"prepaid": 1, "repurchased": 1}
    assert (columns.annual_rate[0], columns.remaining_term[0], columns.age[0]) == (0.025, 60, 60)
    assert set(columns.amortization) == {"linear"}
    assert "index" not in read.extra


def test_esma_quarterly_payer_is_refused_with_the_reason() -> None:
    text = FILES["esma_auto"].read_text().replace("MNTH", "QUTR")
    message = refused(io.BytesIO(text.encode()), format="csv")
    assert "it pays quarterly and the tape takes monthly payments" in message


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
