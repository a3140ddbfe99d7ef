"""Writes samples/layouts: made-up loans in each layout that the engine reads, always the same ones.

Run `python scripts/make_layout_samples.py [FOLDER]` from the repository's root. No borrower, lender or deal stands
behind any loan.
"""

import sys
from pathlib import Path

import numpy as np

from engine.layouts import LAYOUTS

SEED = 20_261_125
LOANS = 60
FOLDER = Path(__file__).resolve().parent.parent / "samples" / "layouts"
STATES = ("CA", "TX", "FL", "NY", "OH", "WA")


def month(ordinal: int, form: str = "{m:02d}{y}") -> str:
    """A month in a form. ordinal: years x 12 + months from 0."""
    return form.format(m=ordinal % 12 + 1, y=ordinal // 12)


def left_of(original: float, rate: float, term: int, age: int) -> float:
    """What a level-pay loan still owes after `age` payments."""
    r = rate / 12
    return original * ((1 + r) ** term - (1 + r) ** age) / ((1 + r) ** term - 1)


class Loans:
    """Drawn loans: original balances, rates, terms, ages and how late each is."""

    def __init__(self, seed: int, median: float, rate: float, terms: tuple[int, ...], n: int = LOANS) -> None:
        random = np.random.default_rng(seed)
        self.original = np.round(median * np.exp(0.4 * random.standard_normal(n)), -2)
        self.rate = np.round(np.clip(rate + 0.01 * random.standard_normal(n), 0.015, 0.3), 5)
        self.term = random.choice(terms, n)
        self.age = np.floor(0.6 * self.term * random.beta(1.2, 2.6, n)).astype(int)
        self.late = random.choice([0, 1, 2, 3, 5], n, p=[0.86, 0.06, 0.03, 0.02, 0.03])
        self.left = random.random(n) < 0.08
        self.state = random.choice(STATES, n)
        self.balance = np.array(
            [
                round(left_of(o, r, t, a), 2)
                for o, r, t, a in zip(self.original, self.rate, self.term, self.age, strict=True)
            ]
        )


def fixed(columns: tuple[str, ...], count: int, **cells: str) -> str:
    """A pipe-separated row with the named cells, the others blank."""
    return "|".join(cells.get(name, "") for name in columns[:count])


def fannie_mae() -> str:
    """Three months of the performance file, as it comes: no header, months as MMYYYY, loans that end."""
    columns, last = LAYOUTS["fannie_mae"].columns, 2024 * 12 + 11
    loans = Loans(SEED, 260_000, 0.045, (180, 360))
    rows = []
    for k in range(LOANS):
        for back in (2, 1, 0):
            age = int(loans.age[k]) + 3 - back
            gone = bool(loans.left[k]) and back == 1
            arm = k % 20 == 7
            late = "XX" if k % 25 == 9 else f"{loans.late[k]:02d}"
            first = last - back - age + 1
            owed = left_of(loans.original[k], loans.rate[k], int(loans.term[k]), age)
            rows.append(fixed(
                columns, 113, LOAN_ID=f"10{k:010d}", ACT_PERIOD=month(last - back), CHANNEL="RCB"[k % 3],
                SELLER="Other", SERVICER="Made-up Servicing, LLC", ORIG_RATE=f"{loans.rate[k] * 100:.3f}",
                CURR_RATE="" if gone else f"{loans.rate[k] * 100:.3f}", ORIG_UPB=f"{loans.original[k]:.2f}",
                CURRENT_UPB="0.00" if gone else f"{owed:.2f}",
                ORIG_TERM=str(loans.term[k]), ORIG_DATE=month(first - 2), FIRST_PAY=month(first), LOAN_AGE=str(age),
                REM_MONTHS=str(loans.term[k] - age), ADJ_REM_MONTHS="" if gone else str(loans.term[k] - age - k % 2),
                MATR_DT=month(first + int(loans.term[k]) - 1), OLTV=str(60 + k % 36), DTI=str(20 + k % 30),
                CSCORE_B="" if k % 11 == 0 else str(620 + 3 * k), STATE=str(loans.state[k]), ZIP=f"{100 + k}",
                PRODUCT="ARM" if arm else "FRM", PPMT_FLG="N", IO="N", DLQ_STATUS=late, MOD_FLAG="N",
                ZERO_BAL_CODE="01" if gone else "", ZB_DTE=month(last - back) if gone else "",
                ARM_INDEX="30-DAY AVERAGE SOFR" if arm else "", MARGIN="2.750" if arm else "",
                INTEREST_RATE_CHANGE_DATE=month(last + 14) if arm else "",
                MONTHS_BETWEEN_SUBSEQUENT_PAYMENT_RESET="6" if arm else "",
                PERIODIC_INTEREST_RATE_CAP="1.000" if arm else "", LIFETIME_INTEREST_RATE_CAP="5.000" if arm else "",
                FORBEARANCE_INDICATOR="F" if k % 30 == 4 else "7", FIELD_109="7",
            ))  # fmt: skip
            if gone:
                break
    return "\n".join(rows) + "\n"


def disclosure() -> str:
    """The MBS loan-level disclosure: a header, net rates, months to maturity."""
    names = (
        "Loan Identifier", "Loan Correction Indicator", "Prefix", "Security Identifier", "CUSIP",
        "Mortgage Loan Amount", "Issuance Investor Loan UPB", "Current Investor Loan UPB", "Amortization Type",
        "Original Interest Rate", "Issuance Interest Rate", "Current Interest Rate", "Issuance Net Interest Rate",
        "Current Net Interest Rate", "First Payment Date", "Maturity Date", "Loan Term",
        "Remaining Months to Maturity", "Loan Age", "Property State", "Interest Only Loan Indicator",
        "Interest Only First Principal and Interest Payment Date", "Index", "Mortgage Margin",
        "Interest Rate Adjustment Frequency", "Months to Next Interest Rate Adjustment Date",
        "Life Ceiling Interest Rate", "Life Floor Interest Rate", "Periodic Interest Rate Cap Up Percent",
        "Days Delinquent",
    )  # fmt: skip
    last, loans = 2024 * 12 + 11, Loans(SEED + 1, 310_000, 0.06, (360,))
    rows = ["|".join(names)]
    for k in range(LOANS):
        age, arm, only = int(loans.age[k]), k % 15 == 3, k % 12 == 5
        first, rate = last - age + 1, loans.rate[k] * 100
        owed = loans.original[k] if only else loans.balance[k]
        cells = {
            "Loan Identifier": f"77{k:06d}", "Loan Correction Indicator": "N", "Prefix": "CL",
            "Security Identifier": "MA1234" if k % 3 else "MA5678", "CUSIP": "31418XXX1",
            "Mortgage Loan Amount": f"{loans.original[k]:.2f}",
            "Issuance Investor Loan UPB": f"{loans.original[k]:.2f}",
            "Current Investor Loan UPB": f"{owed:.2f}", "Amortization Type": "ARM" if arm else "FRM",
            "Original Interest Rate": f"{rate:.3f}", "Issuance Interest Rate": f"{rate:.3f}",
            "Current Interest Rate": f"{rate:.3f}", "Issuance Net Interest Rate": f"{rate - 0.5:.3f}",
            "Current Net Interest Rate": f"{rate - 0.5:.3f}", "First Payment Date": month(first),
            "Maturity Date": month(first + 359), "Loan Term": "360", "Remaining Months to Maturity": str(360 - age),
            "Loan Age": str(age), "Property State": str(loans.state[k]),
            "Interest Only Loan Indicator": "Y" if only else "N",
            "Interest Only First Principal and Interest Payment Date": month(first + 120) if only else "",
            "Index": "30-Day Average SOFR" if arm else "", "Mortgage Margin": "2.750" if arm else "",
            "Interest Rate Adjustment Frequency": "6" if arm else "",
            "Months to Next Interest Rate Adjustment Date": "30" if arm else "",
            "Life Ceiling Interest Rate": f"{rate + 5:.3f}" if arm else "",
            "Life Floor Interest Rate": "2.750" if arm else "",
            "Periodic Interest Rate Cap Up Percent": "1.000" if arm else "",
            "Days Delinquent": str(30 * loans.late[k]),
        }  # fmt: skip
        rows.append("|".join(cells[name] for name in names))
    return "\n".join(rows) + "\n"


def freddie_mac() -> tuple[str, str]:
    """Two months of the performance file, and the origination file of the same loans."""
    performance, origination = LAYOUTS["freddie_mac"].columns, LAYOUTS["freddie_mac_origination"].columns
    last, loans = 2024 * 12 + 11, Loans(SEED + 2, 240_000, 0.05, (240, 360))
    rows, made = [], []
    for k in range(LOANS):
        ident = f"F2{k % 4}Q{k % 4 + 1}{k:07d}"
        term = int(loans.term[k])
        first = last - int(loans.age[k]) - 1
        made.append(fixed(
            origination, 32, CREDIT_SCORE="9999" if k % 19 == 0 else str(640 + 2 * k), FIRST_TIME_HOMEBUYER_FLAG="N",
            FIRST_PAYMENT_DATE=month(first, "{y}{m:02d}"), MATURITY_DATE=month(first + term - 1, "{y}{m:02d}"),
            NUMBER_OF_UNITS="1", OCCUPANCY_STATUS="P", ORIGINAL_UPB=f"{loans.original[k]:.0f}", ORIGINAL_LTV="80",
            ORIGINAL_INTEREST_RATE=f"{loans.rate[k] * 100:.3f}", CHANNEL="R", PREPAYMENT_PENALTY_FLAG="N",
            AMORTIZATION_TYPE="FRM", PROPERTY_STATE=str(loans.state[k]), PROPERTY_TYPE="SF", POSTAL_CODE="90000",
            LOAN_SEQUENCE_NUMBER=ident, LOAN_PURPOSE="P", ORIGINAL_LOAN_TERM=str(term), NUMBER_OF_BORROWERS="1",
            SELLER_NAME="Other sellers", SERVICER_NAME="Other servicers", INTEREST_ONLY_INDICATOR="N",
        ))  # fmt: skip
        for back in (1, 0):
            age = int(loans.age[k]) + 2 - back
            gone = bool(loans.left[k]) and back == 0
            owed = left_of(loans.original[k], loans.rate[k], term, age)
            late = "RA" if k % 29 == 6 else str(loans.late[k])
            deferred = 5_000.0 if k % 23 == 11 else 0.0
            rows.append(fixed(
                performance, 32, LOAN_SEQUENCE_NUMBER=ident, MONTHLY_REPORTING_PERIOD=month(last - back, "{y}{m:02d}"),
                CURRENT_ACTUAL_UPB="0" if gone else f"{owed + deferred:.2f}", CURRENT_LOAN_DELINQUENCY_STATUS=late,
                LOAN_AGE=str(age), REMAINING_MONTHS_TO_LEGAL_MATURITY=str(term - age), MODIFICATION_FLAG="",
                ZERO_BALANCE_CODE=("01" if k % 2 else "09") if gone else "",
                CURRENT_INTEREST_RATE=f"{loans.rate[k] * 100:.3f}", CURRENT_NON_INTEREST_BEARING_UPB=f"{deferred:.2f}",
                INTEREST_BEARING_UPB="0" if gone else f"{owed:.2f}",
            ))  # fmt: skip
    return "\n".join(rows) + "\n", "\n".join(made) + "\n"


def lending_club() -> str:
    """The loans CSV: a line before the header, percent signs, months in words, notes at the end."""
    names = (
        "id", "member_id", "loan_amnt", "funded_amnt", "term", "int_rate", "installment", "grade", "sub_grade",
        "emp_title", "home_ownership", "annual_inc", "issue_d", "loan_status", "purpose", "title", "addr_state", "dti",
        "out_prncp", "total_pymnt", "last_pymnt_d", "last_pymnt_amnt", "next_pymnt_d",
    )  # fmt: skip
    words = ("Current", "In Grace Period", "Late (16-30 days)", "Late (31-120 days)", "Default")
    short = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    last, loans = 2018 * 12 + 11, Loans(SEED + 3, 14_000, 0.13, (36, 60))
    rows = [
        "Notes offered by Prospectus (https://www.lendingclub.com/info/prospectus.action)",
        ",".join(f'"{name}"' for name in names),
    ]
    for k in range(LOANS):
        term, age, rate = int(loans.term[k]), int(loans.age[k]), float(np.round(loans.rate[k], 4))
        status = ("Fully Paid" if k % 2 else "Charged Off") if loans.left[k] else words[min(int(loans.late[k]), 4)]
        over = loans.left[k]
        payment = loans.original[k] * (rate / 12) / (1 - (1 + rate / 12) ** -term)
        issued = last - age
        when = f"{short[issued % 12]}-{issued // 12}"
        cells = (
            str(68_000_000 + k), "", f"{loans.original[k]:.0f}", f"{loans.original[k]:.0f}", f" {term} months",
            f" {rate * 100:.2f}%", f"{payment:.2f}", "ABCDE"[k % 5], f"{'ABCDE'[k % 5]}{k % 5 + 1}",
            'Teacher, "head" of class' if k == 3 else "Driver", "RENT", "61000.0", when, status, "debt_consolidation",
            "Debt\nconsolidation" if k == 8 else "Debt consolidation", str(loans.state[k]), "18.2",
            "0.00" if over else f"{left_of(loans.original[k], rate, term, age):.2f}", "100.0", "Dec-2018", "50.0",
            "" if over else "Jan-2019",
        )  # fmt: skip
        rows.append(",".join('"' + cell.replace('"', '""') + '"' for cell in cells))
    notes = ['"Total amount funded in policy code 1: 460296150"', '"Total amount funded in policy code 2: 0"']
    return "\n".join([*rows, "", *notes]) + "\n"


def sec(kind: str, seed: int, median: float, rate: float, terms: tuple[int, ...]) -> str:
    """Exhibit EX-102: one element a loan, rates as decimals, months as MM/YYYY."""
    last, loans = 2024 * 12 + 11, Loans(seed, median, rate, terms)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<assetData xmlns="http://www.sec.gov/edgar/document/absee/{kind}/assetdata">',
    ]
    for k in range(LOANS):
        term, age = int(loans.term[k]), int(loans.age[k])
        first, gone = last - age + 1, bool(loans.left[k])
        charged = gone and k % 2 == 0
        leaves = {
            "assetTypeNumber": "Made-up", "assetNumber": f"2024-1 - {k:06d}",
            "reportingPeriodBeginningDate": "12-01-2024", "reportingPeriodEndingDate": "12-31-2024",
            "originationDate": month(first - 1, "{m:02d}/{y}"), "originalLoanAmount": f"{loans.original[k]:.2f}",
            "originalLoanTerm": str(term), "loanMaturityDate": month(first + term - 1, "{m:02d}/{y}"),
            "originalInterestRatePercentage": f"{loans.rate[k]:.8f}", "originalInterestRateTypeCode": "1",
            "originalFirstPaymentDate": month(first, "{m:02d}/{y}"), "subvented": "0",
            "obligorGeographicLocation": str(loans.state[k]),
            "remainingTermToMaturityNumber": str(0 if gone else term - age),
            "reportingPeriodInterestRatePercentage": f"{loans.rate[k]:.8f}", "servicingFeePercentage": "0.01000000",
            "reportingPeriodActualEndBalanceAmount": "0.00" if gone else f"{loans.balance[k]:.2f}",
        }  # fmt: skip
        if not gone:
            leaves["currentDelinquencyStatus"] = str(int(loans.late[k]) * 30 + (k % 5 if loans.late[k] else 0))
        else:
            leaves["zeroBalanceCode"] = "4" if charged else "1"
        if kind == "autoloan":
            leaves["repossessedIndicator"] = "true" if k % 27 == 13 else "false"
        lines = [f"    <{name}>{text}</{name}>" for name, text in leaves.items()]
        if k % 9 == 2:
            lines.append("    <subvented>2</subvented>")
        out += ["  <assets>", *lines, "  </assets>"]
    return "\n".join([*out, "</assetData>"]) + "\n"


def esma(name: str, seed: int, median: float, rate: float, terms: tuple[int, ...]) -> str:
    """An annex as CSV: field codes as header, ISO dates, percentages, ND codes."""
    layout = LAYOUTS[name]
    code = {reading.ours: reading.theirs for reading in layout.readings}
    prefix = layout.marks[0].rstrip("0123456789")
    cutoff, loans = 2024 * 12 + 11, Loans(seed, median, rate, terms)
    used = [code[ours][0] for ours in code if ours != "loan_id"]
    names = sorted({f"{prefix}{n}" for n in (1, 2, 3, 6, 10)} | set(used), key=lambda text: int(text[len(prefix) :]))
    rows = [",".join(names)]
    for k in range(LOANS):
        term, age = int(loans.term[k]), int(loans.age[k])
        gone, late = bool(loans.left[k]), int(loans.late[k])
        made = cutoff - age
        day = "{y}-{m:02d}-15"
        cells = {
            f"{prefix}1": "529900MADEUPLEI00000N202401", f"{prefix}2": f"X{k:05d}", f"{prefix}3": f"X{k:05d}",
            f"{prefix}6": "2024-12-31", f"{prefix}10": "Y" if prefix == "RREL" else "FR101",
        }  # fmt: skip
        ours = {
            "balance": "0" if gone else f"{loans.balance[k]:.2f}", "annual_rate": f"{loans.rate[k] * 100:.3f}",
            "original_term": "ND1" if k % 13 == 5 else str(term), "original_balance": f"{loans.original[k]:.2f}",
            "amortization": ("FRXX", "FIXE", "FRXX", "BLLT")[k % 4], "scheduled_payment": "ND5",
            "origination_date": month(made, day), "maturity_date": month(made + term, day), "grace_end_date": "ND5",
            "account_status": "RDMD" if gone else ("DFLT" if late == 5 else "ARRE" if late else "PERF"),
            "days_past_due": str(30 * late), "index": "ND5", "margin": "ND5", "reset_frequency": "ND5",
            "life_cap": "ND4-2025-06-30" if k % 17 == 0 else "ND5", "life_floor": "ND5", "unsupported": "MNTH",
        }  # fmt: skip
        cells |= {code[name][0]: text for name, text in ours.items() if name in code}
        rows.append(",".join(cells.get(name, "") for name in names))
    return "\r\n".join(rows) + "\r\n"


def samples() -> dict[str, str]:
    """The files by name."""
    performance, origination = freddie_mac()
    return {
        "fannie_mae.txt": fannie_mae(),
        "fannie_mae_mbs.txt": disclosure(),
        "freddie_mac.txt": performance,
        "freddie_mac_origination.txt": origination,
        "lending_club.csv": lending_club(),
        "sec_auto.xml": sec("autoloan", SEED + 4, 26_000, 0.09, (60, 72)),
        "sec_rmbs.xml": sec("rmbs", SEED + 5, 700_000, 0.055, (360,)),
        "esma_residential.csv": "\ufeff" + esma("esma_residential", SEED + 6, 210_000, 0.03, (240, 300)),
        "esma_corporate.csv": esma("esma_corporate", SEED + 7, 900_000, 0.045, (60, 84)),
        "esma_auto.csv": esma("esma_auto", SEED + 8, 19_000, 0.05, (48, 60)),
        "esma_consumer.csv": esma("esma_consumer", SEED + 9, 9_000, 0.08, (36, 60)),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in samples().items():
        (folder / name).write_bytes(text.encode())
        sys.stdout.write(f"{folder / name}\n")
