"""What each layout makes of its units, dates, codes and status, by hand."""

import io

import numpy as np
import pytest

from engine.layouts import LAYOUTS
from tests.engine.layout_world import (
    FILES,
    FREDDIE,
    MORTGAGE,
    asset,
    columns_of,
    ex102,
    fannie,
    piped,
    refused,
    report_of,
    tape,
)

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
        "loans are delinquent and are taken as performing but by roll rates and rules by status": 5
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


@pytest.mark.parametrize("floating", [False, True])
def test_a_floating_loan_without_its_current_rate_is_told(floating: bool) -> None:
    arm = {"PRODUCT": "ARM", "ARM_INDEX": "SOFR", "CURR_RATE": "", "ORIG_RATE": "2.000"}
    read = tape(fannie({"CURR_RATE": ""}, arm), floating=floating)
    assert report_of(read).notices["floating-rate loans state no current rate and have their first"] == 1
    assert columns_of(read).annual_rate[1] == 0.02
    assert "first_rate" not in read.extra


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
