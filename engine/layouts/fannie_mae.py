"""Fannie Mae: the single-family loan performance file, which is the CRT file too, and the MBS loan-level disclosure."""

from engine.layouts.declaration import Layout, Reading

GLOSSARY = (
    "Fannie Mae, Single-Family Loan Performance Dataset and Credit Risk Transfer: Glossary and File Layout "
    "(June 2023), field positions 1 to 108; the performance file itself has 113 (positions 109 to 113 are unnamed here)"
)
MBS = "Fannie Mae and Freddie Mac single-family MBS loan-level disclosure (ILLD, MLLD), column headings of the file"

# By position, under the names of Fannie Mae's own sample program.
PERFORMANCE_COLUMNS = (
    "POOL_ID", "LOAN_ID", "ACT_PERIOD", "CHANNEL", "SELLER", "SERVICER", "MASTER_SERVICER", "ORIG_RATE", "CURR_RATE",
    "ORIG_UPB", "ISSUANCE_UPB", "CURRENT_UPB", "ORIG_TERM", "ORIG_DATE", "FIRST_PAY", "LOAN_AGE", "REM_MONTHS",
    "ADJ_REM_MONTHS", "MATR_DT", "OLTV", "OCLTV", "NUM_BO", "DTI", "CSCORE_B", "CSCORE_C", "FIRST_FLAG", "PURPOSE",
    "PROP", "NO_UNITS", "OCC_STAT", "STATE", "MSA", "ZIP", "MI_PCT", "PRODUCT", "PPMT_FLG", "IO", "FIRST_PAY_IO",
    "MNTHS_TO_AMTZ_IO", "DLQ_STATUS", "PMT_HISTORY", "MOD_FLAG", "MI_CANCEL_FLAG", "ZERO_BAL_CODE", "ZB_DTE",
    "LAST_UPB", "RPRCH_DTE", "CURR_SCHD_PRNCPL", "TOT_SCHD_PRNCPL", "UNSCHD_PRNCPL_CURR", "LAST_PAID_INSTALLMENT_DATE",
    "FORECLOSURE_DATE", "DISPOSITION_DATE", "FORECLOSURE_COSTS", "PROPERTY_PRESERVATION_AND_REPAIR_COSTS",
    "ASSET_RECOVERY_COSTS", "MISCELLANEOUS_HOLDING_EXPENSES_AND_CREDITS", "ASSOCIATED_TAXES_FOR_HOLDING_PROPERTY",
    "NET_SALES_PROCEEDS", "CREDIT_ENHANCEMENT_PROCEEDS", "REPURCHASES_MAKE_WHOLE_PROCEEDS",
    "OTHER_FORECLOSURE_PROCEEDS", "NON_INTEREST_BEARING_UPB", "PRINCIPAL_FORGIVENESS_AMOUNT",
    "ORIGINAL_LIST_START_DATE", "ORIGINAL_LIST_PRICE", "CURRENT_LIST_START_DATE", "CURRENT_LIST_PRICE", "ISSUE_SCOREB",
    "ISSUE_SCOREC", "CURR_SCOREB", "CURR_SCOREC", "MI_TYPE", "SERV_IND", "CURRENT_PERIOD_MODIFICATION_LOSS_AMOUNT",
    "CUMULATIVE_MODIFICATION_LOSS_AMOUNT", "CURRENT_PERIOD_CREDIT_EVENT_NET_GAIN_OR_LOSS",
    "CUMULATIVE_CREDIT_EVENT_NET_GAIN_OR_LOSS", "HOMEREADY_PROGRAM_INDICATOR",
    "FORECLOSURE_PRINCIPAL_WRITE_OFF_AMOUNT", "RELOCATION_MORTGAGE_INDICATOR", "ZERO_BALANCE_CODE_CHANGE_DATE",
    "LOAN_HOLDBACK_INDICATOR", "LOAN_HOLDBACK_EFFECTIVE_DATE", "DELINQUENT_ACCRUED_INTEREST",
    "PROPERTY_INSPECTION_WAIVER_INDICATOR", "HIGH_BALANCE_LOAN_INDICATOR", "ARM_5_YR_INDICATOR", "ARM_PRODUCT_TYPE",
    "MONTHS_UNTIL_FIRST_PAYMENT_RESET", "MONTHS_BETWEEN_SUBSEQUENT_PAYMENT_RESET", "INTEREST_RATE_CHANGE_DATE",
    "PAYMENT_CHANGE_DATE", "ARM_INDEX", "ARM_CAP_STRUCTURE", "INITIAL_INTEREST_RATE_CAP", "PERIODIC_INTEREST_RATE_CAP",
    "LIFETIME_INTEREST_RATE_CAP", "MARGIN", "BALLOON_INDICATOR", "PLAN_NUMBER", "FORBEARANCE_INDICATOR",
    "HIGH_LOAN_TO_VALUE_HLTV_REFINANCE_OPTION_INDICATOR", "DEAL_NAME", "RE_PROCS_FLAG", "ADR_TYPE", "ADR_COUNT",
    "ADR_UPB", "FIELD_109", "FIELD_110", "FIELD_111", "FIELD_112", "FIELD_113",
)  # fmt: skip

# Field 44: why the balance is zero. 97 and 98 are credit events of early CAS deals.
ZERO_BALANCE = {
    "01": "prepaid", "02": "liquidated", "03": "liquidated", "06": "repurchased", "09": "liquidated",
    "15": "removed", "16": "removed", "96": "removed", "97": "removed", "98": "removed",
}  # fmt: skip

PERFORMANCE = Layout(
    name="fannie_mae",
    title="Fannie Mae single-family loan performance and CRT file",
    sources=(GLOSSARY,),
    delimiter="|",
    quoted=False,
    columns=PERFORMANCE_COLUMNS,
    counts=(108, 110, 113),
    id_at=(1, r"\d{6,12}"),
    period=Reading(ours="period", theirs=("ACT_PERIOD",), kind="date", form="%m%Y"),
    several_periods=True,
    readings=(
        Reading(ours="loan_id", theirs=("LOAN_ID",), kind="text"),
        Reading(ours="balance", theirs=("CURRENT_UPB",)),
        Reading(ours="annual_rate", theirs=("CURR_RATE", "ORIG_RATE"), kind="percent"),
        # The adjusted months fall with curtailments; modified loans have the legal ones alone.
        Reading(ours="remaining_term", theirs=("ADJ_REM_MONTHS", "REM_MONTHS"), kind="months"),
        Reading(ours="age", theirs=("LOAN_AGE",), kind="months"),
        Reading(ours="original_term", theirs=("ORIG_TERM",), kind="months"),
        Reading(ours="original_balance", theirs=("ORIG_UPB",)),
        Reading(ours="original_rate", theirs=("ORIG_RATE",), kind="percent"),
        Reading(ours="origination_date", theirs=("ORIG_DATE",), kind="date", form="%m%Y"),
        Reading(ours="first_payment_date", theirs=("FIRST_PAY",), kind="date", form="%m%Y"),
        Reading(ours="maturity_date", theirs=("MATR_DT",), kind="date", form="%m%Y"),
        Reading(ours="first_principal_date", theirs=("FIRST_PAY_IO",), kind="date", form="%m%Y"),
        Reading(ours="left_pool", theirs=("ZERO_BAL_CODE",), kind="code", codes=ZERO_BALANCE),
        Reading(ours="months_past_due", theirs=("DLQ_STATUS",), kind="months", blanks=("XX",)),
        Reading(ours="relief", theirs=("FORBEARANCE_INDICATOR",), kind="code",
                codes={"F": "forbearance"}, blanks=("7", "9", "N", "O", "R", "T")),
        Reading(ours="rate_type", theirs=("PRODUCT",), kind="code", codes={"FRM": "fixed", "ARM": "floating"}),
        Reading(ours="index", theirs=("ARM_INDEX",), kind="text"),
        Reading(ours="margin", theirs=("MARGIN",), kind="percent"),
        Reading(ours="next_reset_date", theirs=("INTEREST_RATE_CHANGE_DATE",), kind="date", form="%m%Y"),
        Reading(ours="reset_frequency", theirs=("MONTHS_BETWEEN_SUBSEQUENT_PAYMENT_RESET",), kind="months"),
        Reading(ours="periodic_cap", theirs=("PERIODIC_INTEREST_RATE_CAP",), kind="percent"),
        Reading(ours="life_cap_over_original", theirs=("LIFETIME_INTEREST_RATE_CAP",), kind="percent"),
    ),
)  # fmt: skip

DISCLOSURE = Layout(
    name="fannie_mae_mbs",
    title="Single-family MBS loan-level disclosure of Fannie Mae and Freddie Mac",
    sources=(MBS,),
    delimiter="|",
    quoted=False,
    marks=("Loan Identifier", "Current Investor Loan UPB", "Current Net Interest Rate", "Remaining Months to Maturity"),
    readings=(
        Reading(ours="loan_id", theirs=("Loan Identifier",), kind="text"),
        Reading(ours="balance", theirs=("Current Investor Loan UPB", "Issuance Investor Loan UPB")),
        Reading(ours="annual_rate", theirs=("Current Interest Rate", "Issuance Interest Rate"), kind="percent"),
        Reading(ours="net_rate", theirs=("Current Net Interest Rate", "Issuance Net Interest Rate"), kind="percent"),
        Reading(ours="remaining_term", theirs=("Remaining Months to Maturity",), kind="months"),
        Reading(ours="age", theirs=("Loan Age",), kind="months"),
        Reading(ours="original_term", theirs=("Loan Term",), kind="months"),
        Reading(ours="original_balance", theirs=("Mortgage Loan Amount",)),
        Reading(ours="group", theirs=("Security Identifier",), kind="text"),
        Reading(ours="first_payment_date", theirs=("First Payment Date",), kind="date", form="%m%Y"),
        Reading(ours="maturity_date", theirs=("Maturity Date",), kind="date", form="%m%Y"),
        Reading(ours="first_principal_date", theirs=("Interest Only First Principal and Interest Payment Date",),
                kind="date", form="%m%Y"),
        Reading(ours="days_past_due", theirs=("Days Delinquent",)),
        Reading(ours="rate_type", theirs=("Amortization Type",), kind="code",
                codes={"FRM": "fixed", "ARM": "floating"}),
        Reading(ours="index", theirs=("Index",), kind="text"),
        Reading(ours="margin", theirs=("Mortgage Margin",), kind="percent"),
        Reading(ours="first_reset", theirs=("Months to Next Interest Rate Adjustment Date",), kind="months"),
        Reading(ours="reset_frequency", theirs=("Interest Rate Adjustment Frequency",), kind="months"),
        Reading(ours="periodic_cap", theirs=("Periodic Interest Rate Cap Up Percent",), kind="percent"),
        Reading(ours="life_cap", theirs=("Life Ceiling Interest Rate",), kind="percent"),
        Reading(ours="life_floor", theirs=("Life Floor Interest Rate",), kind="percent"),
    ),
)  # fmt: skip

LAYOUTS = (PERFORMANCE, DISCLOSURE)
