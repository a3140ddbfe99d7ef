"""Freddie Mac: the Single-Family Loan-Level Dataset, monthly performance and origination files."""

from engine.layouts.declaration import Layout, Reading

GUIDE = "Freddie Mac, Single-Family Loan-Level Dataset General User Guide, File Layout and Data Dictionary"
ID = r"F[A-Z]?\d{2}Q[1-4]\d{5,8}|A\d{2}Q[1-4]\d{5,8}"

PERFORMANCE_COLUMNS = (
    "LOAN_SEQUENCE_NUMBER", "MONTHLY_REPORTING_PERIOD", "CURRENT_ACTUAL_UPB", "CURRENT_LOAN_DELINQUENCY_STATUS",
    "LOAN_AGE", "REMAINING_MONTHS_TO_LEGAL_MATURITY", "DEFECT_SETTLEMENT_DATE", "MODIFICATION_FLAG",
    "ZERO_BALANCE_CODE", "ZERO_BALANCE_EFFECTIVE_DATE", "CURRENT_INTEREST_RATE", "CURRENT_NON_INTEREST_BEARING_UPB",
    "DUE_DATE_OF_LAST_PAID_INSTALLMENT", "MI_RECOVERIES", "NET_SALE_PROCEEDS", "NON_MI_RECOVERIES", "TOTAL_EXPENSES",
    "LEGAL_COSTS", "MAINTENANCE_AND_PRESERVATION_COSTS", "TAXES_AND_INSURANCE", "MISCELLANEOUS_EXPENSES",
    "ACTUAL_LOSS_CALCULATION", "CUMULATIVE_MODIFICATION_COST", "INTEREST_RATE_STEP_INDICATOR", "PAYMENT_DEFERRAL_FLAG",
    "ESTIMATED_LOAN_TO_VALUE", "ZERO_BALANCE_REMOVAL_UPB", "DELINQUENT_ACCRUED_INTEREST",
    "DELINQUENCY_DUE_TO_DISASTER", "BORROWER_ASSISTANCE_PLAN", "CURRENT_MONTH_MODIFICATION_COST",
    "INTEREST_BEARING_UPB", "MI_CANCELLATION_INDICATOR", "SERVICER_NAME_CURRENT", "BANKRUPTCY_CRAMDOWN_COSTS",
)  # fmt: skip
ORIGINATION_COLUMNS = (
    "CREDIT_SCORE", "FIRST_PAYMENT_DATE", "FIRST_TIME_HOMEBUYER_FLAG", "MATURITY_DATE", "MSA", "MI_PERCENTAGE",
    "NUMBER_OF_UNITS", "OCCUPANCY_STATUS", "ORIGINAL_CLTV", "ORIGINAL_DTI", "ORIGINAL_UPB", "ORIGINAL_LTV",
    "ORIGINAL_INTEREST_RATE", "CHANNEL", "PREPAYMENT_PENALTY_FLAG", "AMORTIZATION_TYPE", "PROPERTY_STATE",
    "PROPERTY_TYPE", "POSTAL_CODE", "LOAN_SEQUENCE_NUMBER", "LOAN_PURPOSE", "ORIGINAL_LOAN_TERM",
    "NUMBER_OF_BORROWERS", "SELLER_NAME", "SERVICER_NAME", "SUPER_CONFORMING_FLAG",
    "PRE_RELIEF_REFINANCE_LOAN_SEQUENCE_NUMBER", "PROGRAM_INDICATOR", "RELIEF_REFINANCE_INDICATOR",
    "PROPERTY_VALUATION_METHOD", "INTEREST_ONLY_INDICATOR", "MI_CANCELLATION_INDICATOR",
)  # fmt: skip

ZERO_BALANCE = {
    "01": "prepaid", "1": "prepaid", "02": "liquidated", "2": "liquidated", "03": "liquidated", "3": "liquidated",
    "06": "repurchased", "6": "repurchased", "09": "liquidated", "9": "liquidated", "15": "removed", "16": "removed",
    "96": "removed",
}  # fmt: skip
# The dataset has no date at which an interest-only loan begins to amortise.
INTEREST_ONLY = Reading(
    ours="unsupported", theirs=("INTEREST_ONLY_INDICATOR",), kind="code",
    codes={"Y": "it is interest-only and the file does not say until when"}, blanks=("N", "9"),
)  # fmt: skip
RATE_TYPE = Reading(
    ours="rate_type", theirs=("AMORTIZATION_TYPE",), kind="code", codes={"FRM": "fixed", "ARM": "floating"}
)

PERFORMANCE = Layout(
    name="freddie_mac",
    title="Freddie Mac Single-Family Loan-Level Dataset, monthly performance file",
    sources=(GUIDE,),
    delimiter="|",
    quoted=False,
    columns=PERFORMANCE_COLUMNS,
    counts=(26, 27, 28, 29, 30, 31, 32, 35),
    id_at=(0, ID),
    period=Reading(ours="period", theirs=("MONTHLY_REPORTING_PERIOD",), kind="date", form="%Y%m"),
    several_periods=True,
    readings=(
        Reading(ours="loan_id", theirs=("LOAN_SEQUENCE_NUMBER",), kind="text"),
        # The part that bears no interest is principal that a modification deferred: it is left out, and told.
        Reading(ours="balance", theirs=("INTEREST_BEARING_UPB", "CURRENT_ACTUAL_UPB")),
        Reading(ours="annual_rate", theirs=("CURRENT_INTEREST_RATE",), kind="percent"),
        Reading(ours="remaining_term", theirs=("REMAINING_MONTHS_TO_LEGAL_MATURITY",), kind="months"),
        Reading(ours="age", theirs=("LOAN_AGE",), kind="months"),
        Reading(ours="left_pool", theirs=("ZERO_BALANCE_CODE",), kind="code", codes=ZERO_BALANCE),
        Reading(ours="account_status", theirs=("CURRENT_LOAN_DELINQUENCY_STATUS",), kind="code",
                codes={"RA": "reo", "R": "reo", "XX": "unknown"}, pattern=r"^([A-Z]+)$"),
        Reading(ours="months_past_due", theirs=("CURRENT_LOAN_DELINQUENCY_STATUS",), kind="months",
                pattern=r"^(\d+)$"),
        Reading(ours="deferred_balance", theirs=("CURRENT_NON_INTEREST_BEARING_UPB",)),
        Reading(ours="relief", theirs=("BORROWER_ASSISTANCE_PLAN",), kind="code",
                codes={"F": "forbearance"}, blanks=("7", "9", "N", "O", "R", "T")),
        # From the origination file, where that is given too.
        Reading(ours="original_term", theirs=("ORIGINAL_LOAN_TERM",), kind="months"),
        Reading(ours="original_balance", theirs=("ORIGINAL_UPB",)),
        Reading(ours="maturity_date", theirs=("MATURITY_DATE",), kind="date", form="%Y%m"),
        RATE_TYPE,
        INTEREST_ONLY,
    ),
)  # fmt: skip

ORIGINATION = Layout(
    name="freddie_mac_origination",
    title="Freddie Mac Single-Family Loan-Level Dataset, origination file: the loans as they were made",
    sources=(GUIDE,),
    delimiter="|",
    quoted=False,
    columns=ORIGINATION_COLUMNS,
    counts=(26, 27, 31, 32),
    id_at=(19, ID),
    readings=(
        Reading(ours="loan_id", theirs=("LOAN_SEQUENCE_NUMBER",), kind="text"),
        Reading(ours="balance", theirs=("ORIGINAL_UPB",)),
        Reading(ours="annual_rate", theirs=("ORIGINAL_INTEREST_RATE",), kind="percent"),
        Reading(ours="remaining_term", theirs=("ORIGINAL_LOAN_TERM",), kind="months"),
        Reading(ours="original_term", theirs=("ORIGINAL_LOAN_TERM",), kind="months"),
        Reading(ours="original_balance", theirs=("ORIGINAL_UPB",)),
        Reading(ours="first_payment_date", theirs=("FIRST_PAYMENT_DATE",), kind="date", form="%Y%m"),
        Reading(ours="maturity_date", theirs=("MATURITY_DATE",), kind="date", form="%Y%m"),
        RATE_TYPE,
        INTEREST_ONLY,
    ),
)

LAYOUTS = (PERFORMANCE, ORIGINATION)
