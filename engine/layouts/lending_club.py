"""LendingClub: the loans CSV that was published each quarter (LoanStats) and its later copies."""

from engine.layouts.declaration import Layout, Reading

DICTIONARY = "LendingClub, LCDataDictionary, sheet LoanStats; values as in the published LoanStats files"
# Lower ends of the ranges that the words state.
DAYS = {"In Grace Period": "1", "Late (16-30 days)": "16", "Late (31-120 days)": "31", "Default": "121"}
STATUS = {
    "Current": "current", "Issued": "current", "In Grace Period": "", "Late (16-30 days)": "",
    "Late (31-120 days)": "", "Default": "default", "Fully Paid": "prepaid", "Charged Off": "charged_off",
    "Does not meet the credit policy. Status:Fully Paid": "prepaid",
    "Does not meet the credit policy. Status:Charged Off": "charged_off",
}  # fmt: skip

LOANS = Layout(
    name="lending_club",
    title="LendingClub loans CSV",
    sources=(DICTIONARY,),
    marks=("loan_status", "out_prncp", "int_rate", "term", "issue_d"),
    # The files have no reporting period: the latest payment in them is the cut-off.
    period=Reading(ours="period", theirs=("last_pymnt_d",), kind="date", form="%b-%Y"),
    preambles=("Notes offered by Prospectus",),
    footers=("Total amount funded in policy code", "Loans that do not meet the credit policy"),
    readings=(
        Reading(ours="loan_id", theirs=("id", "member_id", "url"), kind="text"),
        Reading(ours="balance", theirs=("out_prncp",)),
        Reading(ours="annual_rate", theirs=("int_rate",), kind="percent"),
        Reading(ours="original_term", theirs=("term",), kind="months", pattern=r"^(\d+)(?: months)?$"),
        Reading(ours="original_balance", theirs=("funded_amnt", "loan_amnt")),
        Reading(ours="payment", theirs=("installment",)),
        Reading(ours="group", theirs=("grade",), kind="text"),
        Reading(ours="origination_date", theirs=("issue_d",), kind="date", form="%b-%Y"),
        Reading(ours="account_status", theirs=("loan_status",), kind="code", codes=STATUS),
        Reading(ours="days_past_due", theirs=("loan_status",), kind="code", codes=DAYS,
                blanks=tuple(word for word in STATUS if word not in DAYS)),
    ),
)  # fmt: skip

LAYOUTS = (LOANS,)
