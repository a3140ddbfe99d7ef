"""SEC Regulation AB II, Schedule AL: asset-level data in exhibit EX-102 of Form ABS-EE, auto loans and mortgages.

Rates are decimals in the filings (0.0596), though their elements are called percentages. Percentages that an issuer
wrote as 5.96 are above 1 and refused. Repeated elements of a loan are kept, joined by semicolons.
"""

from engine.layouts.declaration import Layout, Reading

SCHEDULE = "17 CFR 229.1125, Appendix (Schedule AL), Items 1 (residential mortgages) and 3 (automobile loans)"
SPECIFICATION = "SEC, EDGAR ABS XML Technical Specification, asset data schemas"

ZERO_BALANCE = {
    "1": "prepaid", "2": "liquidated", "3": "repurchased", "4": "charged_off", "5": "removed", "99": "removed",
}  # fmt: skip
DAY_MONTH = ("%m/%Y", "%m-%d-%Y")

COMMON = (
    Reading(ours="loan_id", theirs=("assetNumber",), kind="text", once=True),
    Reading(ours="balance", theirs=("reportingPeriodActualEndBalanceAmount",)),
    Reading(ours="annual_rate", theirs=("reportingPeriodInterestRatePercentage", "originalInterestRatePercentage")),
    Reading(ours="remaining_term", theirs=("remainingTermToMaturityNumber",), kind="months"),
    Reading(ours="original_term", theirs=("originalLoanTerm",), kind="months"),
    Reading(ours="original_balance", theirs=("originalLoanAmount",)),
    Reading(ours="interest_only_term", theirs=("originalInterestOnlyTermNumber",), kind="months"),
    Reading(ours="servicing_fee", theirs=("servicingFeePercentage",)),
    Reading(ours="origination_date", theirs=("originationDate",), kind="date", form="%m/%Y"),
    Reading(ours="first_payment_date", theirs=("originalFirstPaymentDate",), kind="date", form="%m/%Y"),
    Reading(ours="maturity_date", theirs=("loanMaturityDate",), kind="date", form="%m/%Y"),
    # A loan may have several codes, each joined to the one before: the last is the newest.
    Reading(ours="left_pool", theirs=("zeroBalanceCode",), kind="code", codes=ZERO_BALANCE, pattern=r"(\d+)$"),
    Reading(ours="days_past_due", theirs=("currentDelinquencyStatus",)),
    Reading(ours="rate_type", theirs=("originalInterestRateTypeCode",), kind="code",
            codes={"1": "fixed", "2": "floating", "98": "other"}),
)  # fmt: skip
PERIOD = Reading(ours="period", theirs=("reportingPeriodEndingDate",), kind="date", form="%m-%d-%Y")

AUTO = Layout(
    name="sec_auto",
    title="SEC Regulation AB II auto loans (ABS-EE, EX-102)",
    sources=(SCHEDULE, SPECIFICATION),
    container="xml",
    marks=("absee/autoloan/assetdata",),
    record="assets",
    period=PERIOD,
    readings=(
        *COMMON,
        Reading(ours="seizure", theirs=("repossessedIndicator",), kind="code",
                codes={"true": "repossessed", "1": "repossessed"}, blanks=("false", "0")),
    ),
)  # fmt: skip

RMBS = Layout(
    name="sec_rmbs",
    title="SEC Regulation AB II residential mortgages (ABS-EE, EX-102)",
    sources=(SCHEDULE, SPECIFICATION),
    container="xml",
    marks=("absee/rmbs/assetdata",),
    record="assets",
    period=PERIOD,
    readings=COMMON,
)

LAYOUTS = (AUTO, RMBS)
