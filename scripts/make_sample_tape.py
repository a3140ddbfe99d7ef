"""Writes samples/loans.csv: a made-up tape of 10,000 loans of several kinds, always the same one.

Run `python scripts/make_sample_tape.py [PATH]` from the repository's root.
"""

import sys
from pathlib import Path

import numpy as np

SEED = 20_261_124
LOANS = 10_000
PATH = Path(__file__).resolve().parent.parent / "samples" / "loans.csv"
HEADER = (
    "loan_id,group,amortization,balance,annual_rate,remaining_term,original_term,age,"
    "servicing_fee,interest_only_term,amortization_term"
)

# group: share of the loans, amortization, median balance and its log deviation, mean rate and its deviation, term,
# servicing fee, interest-only months at origination, months of amortization of a balloon (0 for none).
KINDS: dict[str, tuple[float, str, float, float, float, float, int, float, int, int]] = {
    "prime_30": (0.34, "level_pay", 285_000, 0.45, 0.0640, 0.0070, 360, 0.0025, 0, 0),
    "prime_15": (0.12, "level_pay", 190_000, 0.45, 0.0575, 0.0060, 180, 0.0025, 0, 0),
    "jumbo_io": (0.05, "level_pay", 1_050_000, 0.35, 0.0675, 0.0060, 360, 0.0025, 120, 0),
    "balloon": (0.04, "level_pay", 640_000, 0.60, 0.0710, 0.0080, 84, 0.0025, 0, 360),
    "auto": (0.24, "level_pay", 24_500, 0.40, 0.0790, 0.0210, 72, 0.0100, 0, 0),
    "personal": (0.15, "level_pay", 11_000, 0.60, 0.1290, 0.0330, 60, 0.0150, 0, 0),
    "commercial": (0.04, "linear", 820_000, 0.70, 0.0730, 0.0100, 120, 0.0050, 0, 0),
    "bridge": (0.02, "bullet", 1_400_000, 0.50, 0.0960, 0.0120, 24, 0.0050, 0, 0),
}


def sample_rows() -> list[str]:
    """The lines of the tape below its header; loans of the kinds are mixed."""
    random = np.random.default_rng(SEED)
    rows: list[str] = []
    for group, (
        share,
        amortization,
        median,
        spread,
        mean,
        deviation,
        term,
        fee,
        io_months,
        amortizing,
    ) in KINDS.items():
        n = round(share * LOANS)
        balance = median * np.exp(spread * random.standard_normal(n))
        rate = np.clip(mean + deviation * random.standard_normal(n), 0.02, 0.30)
        # Seasoning: most loans are young, none is older than four fifths of its term.
        age = np.floor(0.8 * term * random.beta(1.2, 2.6, n)).astype(int)
        paid = paid_share(amortization, age, term, rate / 12, io_months, amortizing)
        for k in range(n):
            months = f"{term - age[k]},{term},{age[k]}"
            left = balance[k] * (1 - paid[k])
            rows.append(
                f"{group},{amortization},{left:.2f},{rate[k]:.5f},{months},{fee:g},{io_months},{amortizing or ''}"
            )
    mixed = random.permutation(len(rows))
    return [f"L{i + 1:05d},{rows[k]}" for i, k in enumerate(mixed)]


def paid_share(
    amortization: str, age: np.ndarray, term: int, monthly: np.ndarray, io_months: int, amortizing: int
) -> np.ndarray:
    """Share of the original balance that is repaid at each age."""
    if amortization == "bullet":
        return np.zeros(len(age))
    months = (amortizing or term) - io_months
    done = np.maximum(age - io_months, 0)
    if amortization == "linear":
        return done / months
    return ((1 + monthly) ** done - 1) / ((1 + monthly) ** months - 1)


def sample_csv() -> str:
    """The whole file."""
    return "\n".join([HEADER, *sample_rows()]) + "\n"


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    path.write_text(sample_csv(), newline="\n")
    sys.stdout.write(f"{path}: {LOANS:,} loans\n")
