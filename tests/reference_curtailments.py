"""The reference of curtailments: one loan, month by month, its borrowers counted apart from what one of them owes."""

from engine import Assumptions, Conventions, Loan
from tests import reference

NAMES = ("balance", "interest", "scheduled_principal", "prepayment", "default", "curtailment", "principal", "loss")


def project_loan(loan: Loan, assumed: Assumptions, conventions: Conventions, periods: int) -> dict[str, list[float]]:
    """Some fields of a fixed-rate loan without recovery lag over the periods; the severity is lost at once."""
    rate, age, (free, spread) = loan.annual_rate / 12, reference.age_of(loan), reference.terms_left(loan)
    stops = conventions.final_defaults == "stop_before_maturity" and assumed.lag > 0
    assert not stops
    opening = conventions.prepayment_base == "opening_net_of_defaults"
    owed, borrowers, payment, stated = loan.balance, 1.0, loan.payment, loan.payment
    out: dict[str, list[float]] = {name: [] for name in NAMES}
    for t in range(1, periods + 1):
        mdr, smm, share = (
            reference.rate_of(curve, t, age + t) for curve in (assumed.default, assumed.prepayment, assumed.curtailment)
        )
        smm = min(smm, 1 - mdr) if conventions.prepayment_base == "gross" else smm * (1 - mdr)
        # What a borrower who stays owes after the month's payment.
        left = max(spread - max(t - 1 - free, 0), 1)
        recasts = conventions.after_curtailment == "recast" and loan.payment is None
        if payment is None or recasts or t == free + 1:
            payment = level(owed, rate, left, loan.amortization) if stated is None else stated
        due = owed * rate
        if t <= free or loan.amortization == "bullet":
            after = owed
        else:
            after = owed - payment + (due if loan.amortization == "level_pay" else 0.0)
        after = max(after, 0.0) if t < loan.remaining_term else 0.0
        scheduled, down = owed - after, share * after
        staying = borrowers * (1 - mdr - smm)
        paying = staying if conventions.interest_base == "survivors" else borrowers * (1 - mdr)
        row = {
            "interest": paying * due,
            "scheduled_principal": scheduled * (staying if opening else borrowers * (1 - mdr)),
            "prepayment": borrowers * smm * (owed if opening else after) + staying * down,
            "default": borrowers * mdr * owed,
            "curtailment": staying * down,
            "loss": borrowers * mdr * owed * float(assumed.severity),  # type: ignore[arg-type]
        }
        row["balance"] = staying * (after - down)
        recovered = row["default"] - row["loss"]
        row["principal"] = row["scheduled_principal"] + row["prepayment"] + recovered
        for name in NAMES:
            out[name].append(row[name])
        owed, borrowers = after - down, staying
        if conventions.after_curtailment == "recast" and stated is not None:
            payment = stated = stated * (1 - share)
    return out


def level(owed: float, rate: float, months: int, amortization: str) -> float:
    """The payment that repays what is owed; its principal where that is what stays the same."""
    if amortization == "bullet":
        return 0.0
    if amortization == "linear" or rate < 1e-12:
        return owed / months
    return owed * rate / (1 - (1 + rate) ** -months)
