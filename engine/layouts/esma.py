"""ESMA templates of underlying exposures, CSV with the field codes as header: Annexes II, IV, V and VI.

The annexes number the same fields differently, so each is a table of codes and the readings are shared. Rates are
percentages; ND1 to ND5 (and ND4 with a date) stand for no data.
"""

from engine.layouts.declaration import Layout, Reading

REGULATION = (
    "Commission Delegated Regulation (EU) 2020/1224 and Implementing Regulation (EU) 2020/1225, "
    "Annexes II (residential), IV (corporate), V (automobile) and VI (consumer)"
)
QUESTIONS = "ESMA33-128-563, Questions and Answers on the Securitisation Regulation, Q&A 5.3.4, 5.3.13"
ND = ("ND1", "ND2", "ND3", "ND4", "ND5")

# "" goes by the days in arrears.
STATUS = {
    "PERF": "current", "RNAR": "current", "ARRE": "", "RARR": "", "DFLT": "default", "NDFT": "default",
    "DTCR": "default", "DADB": "default", "RDMD": "prepaid", "REBR": "repurchased", "REDF": "repurchased",
    "RERE": "repurchased", "RESS": "repurchased", "REOT": "repurchased", "OTHR": "unknown",
}  # fmt: skip
AMORTIZATION = {"FRXX": "level_pay", "DEXX": "level_pay", "FIXE": "linear", "BLLT": "bullet"}
FREQUENCY = {
    "QUTR": "it pays quarterly and the tape takes monthly payments",
    "SEMI": "it pays twice a year and the tape takes monthly payments",
    "YEAR": "it pays yearly and the tape takes monthly payments",
}  # fmt: skip


def annex(name: str, title: str, prefix: str, numbers: dict[str, int]) -> Layout:
    """The layout of an annex. numbers: our column -> number of its field code."""
    code = {ours: f"{prefix}{number}" for ours, number in numbers.items()}

    def read(ours: str, kind: str = "number", **options: object) -> Reading:
        alternatives = {"loan_id": (f"{prefix}3", f"{prefix}2")}
        theirs = alternatives.get(ours, (code.get(ours, ""),))
        return Reading(ours=ours, theirs=theirs, kind=kind, blanks=ND, **options)  # type: ignore[arg-type]

    day = {"kind": "date", "form": "%Y-%m-%d"}
    readings = (
        read("loan_id", "text"),
        read("balance"),
        read("annual_rate", "percent"),
        read("original_term", "months"),
        read("original_balance"),
        read("amortization", "code", codes=AMORTIZATION),
        read("scheduled_payment"),
        read("origination_date", **day),
        read("maturity_date", **day),
        read("grace_end_date", **day),
        read("account_status", "code", codes=STATUS),
        read("days_past_due"),
        read("index", "text"),
        read("margin", "percent"),
        read("reset_frequency", "months"),
        read("life_cap", "percent"),
        read("life_floor", "percent"),
        Reading(ours="unsupported", theirs=(code["payment_frequency"],), kind="code", codes=FREQUENCY,
                blanks=(*ND, "MNTH", "OTHR")),
    )  # fmt: skip
    return Layout(
        name=name,
        title=title,
        sources=(REGULATION, QUESTIONS),
        marks=(code["balance"], code["annual_rate"], f"{prefix}6"),
        period=Reading(ours="period", theirs=(f"{prefix}6",), kind="date", form="%Y-%m-%d", blanks=ND),
        readings=tuple(reading for reading in readings if reading.theirs != ("",)),
    )


RESIDENTIAL = annex("esma_residential", "ESMA Annex II, residential real estate", "RREL", {
    "origination_date": 23, "maturity_date": 24, "original_term": 25, "original_balance": 29, "balance": 30,
    "amortization": 35, "grace_end_date": 36, "payment_frequency": 37, "scheduled_payment": 39, "annual_rate": 43,
    "index": 44, "margin": 46, "reset_frequency": 47, "life_cap": 48, "life_floor": 49, "days_past_due": 68,
    "account_status": 69,
})  # fmt: skip
CORPORATE = annex("esma_corporate", "ESMA Annex IV, corporate", "CRPL", {
    "origination_date": 33, "maturity_date": 34, "original_balance": 38, "balance": 39, "amortization": 46,
    "grace_end_date": 47, "payment_frequency": 48, "scheduled_payment": 50, "annual_rate": 53, "index": 54,
    "margin": 56, "reset_frequency": 57, "life_cap": 58, "life_floor": 59, "days_past_due": 78, "account_status": 79,
})  # fmt: skip
AUTO = annex("esma_auto", "ESMA Annex V, automobile", "AUTL", {
    "origination_date": 24, "maturity_date": 25, "original_term": 26, "original_balance": 29, "balance": 30,
    "amortization": 32, "grace_end_date": 33, "payment_frequency": 34, "scheduled_payment": 37, "annual_rate": 40,
    "index": 41, "margin": 43, "reset_frequency": 44, "life_cap": 45, "life_floor": 46, "days_past_due": 69,
    "account_status": 70,
})  # fmt: skip
CONSUMER = annex("esma_consumer", "ESMA Annex VI, consumer", "CMRL", {
    "origination_date": 21, "maturity_date": 22, "original_term": 23, "original_balance": 27, "balance": 28,
    "amortization": 32, "grace_end_date": 33, "payment_frequency": 34, "scheduled_payment": 36, "annual_rate": 37,
    "index": 38, "margin": 40, "reset_frequency": 41, "life_cap": 42, "life_floor": 43, "days_past_due": 54,
    "account_status": 55,
})  # fmt: skip

LAYOUTS = (RESIDENTIAL, CORPORATE, AUTO, CONSUMER)
