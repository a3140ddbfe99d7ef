"""Files of the layouts, made for the tests of their readers."""

import io
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import TapeFileError
from engine.layout_options import LayoutTape
from engine.layouts import LAYOUTS
from engine.tape_files import read_tape

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLES = ROOT / "samples" / "layouts"
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
