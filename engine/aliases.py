"""Headers that lenders write and the tape columns they stand for.

Case, spaces, underscores and punctuation do not count: `Current UPB`, `current_upb` and `CURRENT-UPB` are one.
A rate column may carry its unit in the header: `coupon_pct`, `Note Rate (%)`, `servicing_fee_bps`.
"""

from engine.tape import COLUMN_NAMES

RATE_COLUMNS = (
    "annual_rate", "servicing_fee", "margin", "first_cap", "first_floor", "periodic_cap", "periodic_floor", "life_cap",
    "life_floor", "payment_cap", "previous_rate", "graduation_rate", "discount", "dilution", "purchase_rate",
    "utilization", "payment_rate", "interchange_rate", "fee_rate", "ltv",
)  # fmt: skip

# Unit in a rate's header -> what to divide by for a decimal. Longer ones come first.
RATE_UNITS = {"percentage": 100.0, "percent": 100.0, "pct": 100.0, "%": 100.0, "basispoints": 1e4, "bps": 1e4}

ALIASES: dict[str, tuple[str, ...]] = {
    "balance": (
        "current_balance", "upb", "current_upb", "unpaid_principal_balance", "current_unpaid_principal_balance",
        "current_actual_upb", "unpaid_balance", "outstanding_balance", "outstanding_principal", "principal_balance",
        "current_principal_balance", "outstanding_principal_balance", "remaining_balance", "cutoff_balance",
    ),
    "annual_rate": (
        "rate", "interest_rate", "current_interest_rate", "current_rate", "note_rate", "current_note_rate", "coupon",
        "gross_coupon", "wac", "mortgage_rate", "contract_rate", "loan_rate", "annual_interest_rate", "int_rate",
    ),
    "remaining_term": (
        "months_remaining", "remaining_months", "remaining_term_months", "wam", "rem_term", "remaining_maturity",
        "remaining_months_to_maturity", "remaining_months_to_legal_maturity", "months_to_maturity", "rem_months",
        "term_remaining", "remaining_loan_term",
    ),
    "loan_id": (
        "id", "loan_number", "loan_no", "loan_identifier", "loan_sequence_number", "account_id", "account_number",
        "contract_number", "asset_number",
    ),
    "amortization": ("amortisation", "amortization_type", "amortisation_type", "repayment_type", "payment_type"),
    "original_balance": (
        "orig_balance", "original_upb", "orig_upb", "original_principal_balance", "original_loan_amount",
        "loan_amount", "original_amount", "origination_balance",
    ),
    "original_term": ("orig_term", "original_loan_term", "original_term_months", "loan_term", "term_at_origination"),
    "age": ("loan_age", "seasoning", "wala", "age_months", "months_on_book", "mob", "loan_age_months"),
    "payment": (
        "monthly_payment", "scheduled_payment", "p_and_i", "p&i", "pi_payment", "installment", "instalment", "pmt",
        "payment_amount", "current_payment",
    ),
    "servicing_fee": ("servicing_fee_rate", "servicing_rate", "service_fee", "servicing_spread", "servicer_fee"),
    "group": ("loan_group", "group_id", "pool", "pool_id", "product", "product_type", "segment", "collateral_group"),
    "interest_only_term": (
        "io_term", "interest_only_period", "io_period", "remaining_io_term", "io_months", "interest_only_months",
        "remaining_interest_only_term",
    ),
    "property_value": (
        "appraised_value", "current_property_value", "current_value", "home_value", "valuation", "collateral_value",
    ),
    "ltv": ("current_ltv", "loan_to_value", "current_loan_to_value", "mark_to_market_ltv", "mtm_ltv"),
    "mortgage_insurance": (
        "mi_coverage", "mortgage_insurance_coverage", "mi_percent", "mortgage_insurance_percentage",
    ),
    "amortization_term": ("amort_term", "amortisation_term", "amortization_months", "amortization_period"),
    "schedule": ("amortization_schedule", "amortisation_schedule", "schedule_name"),
    "first_floor": ("initial_floor", "initial_rate_floor", "first_rate_floor"),
    "periodic_floor": ("periodic_rate_floor", "adjustment_floor", "subsequent_floor"),
    "rounding_direction": ("rate_rounding_direction", "rounding_method", "rounding_code"),
    "payment_cap": ("periodic_payment_cap", "periodic_pay_cap", "pay_cap"),
    "full_recast_frequency": ("payment_recast_frequency", "neg_am_recast_frequency", "months_between_recasts"),
    "rate_schedule": ("step_rate_schedule", "rate_schedule_name", "step_rates"),
    "previous_rate": ("prior_rate", "prior_interest_rate", "previous_interest_rate", "previous_note_rate"),
    "graduation_rate": ("gpm_rate", "payment_growth", "graduated_payment_rate"),
    "graduation_years": ("gpm_years", "graduation_period", "payment_growth_years"),
    "holiday_start": ("payment_holiday_start", "months_to_holiday"),
    "holiday_months": ("payment_holiday_months", "holiday_length", "payment_holiday_length"),
    "holiday_interest": ("payment_holiday_interest", "interest_in_holiday"),
    "index": ("index_name", "arm_index", "index_type", "rate_index", "reference_rate"),
    "margin": ("gross_margin", "arm_margin", "mortgage_margin", "rate_margin", "spread_over_index"),
    "first_reset": (
        "months_to_roll", "mtr", "months_to_next_reset", "months_to_next_rate_change",
        "months_to_next_rate_adjustment", "months_to_reset",
    ),
    "reset_frequency": (
        "rate_adjustment_frequency", "rate_reset_frequency", "months_between_rate_adjustments", "adjustment_frequency",
        "reset_period",
    ),
    "look_back": ("look_back_months", "index_look_back", "lookback_period"),
    "rate_rounding": ("rounding_factor", "rate_rounding_factor", "rounding_increment"),
    "first_cap": ("initial_cap", "initial_rate_cap", "initial_periodic_cap", "first_rate_cap"),
    "periodic_cap": ("periodic_rate_cap", "adjustment_cap", "subsequent_cap", "period_cap"),
    "life_cap": ("lifetime_cap", "maximum_rate", "max_rate", "lifetime_rate_cap", "rate_ceiling", "life_ceiling"),
    "life_floor": ("lifetime_floor", "minimum_rate", "min_rate", "rate_floor", "lifetime_rate_floor"),
    "recast_frequency": ("payment_adjustment_frequency", "payment_reset_frequency"),
    "type": ("asset_type", "asset_class", "contract_type"),
    "status": ("loan_status", "delinquency_status", "payment_status", "performance_status"),
    "months_in_status": ("months_in_default", "months_in_foreclosure", "months_since_default"),
    "residual_value": ("residual", "contract_residual_value", "base_residual_value", "guaranteed_residual_value"),
    "payment_timing": ("rental_timing", "payment_in_advance_or_arrears", "payment_mode"),
    "face_value": ("face_amount", "invoice_amount", "receivable_amount", "gross_receivable"),
    "discount": ("purchase_discount", "discount_rate", "factoring_fee"),
    "dilution": ("dilution_rate", "dilution_ratio"),
    "accrued_interest": ("uncapitalized_interest", "accrued_unpaid_interest", "interest_to_be_capitalized"),
    "school_term": ("months_in_school", "in_school_months", "remaining_school_months"),
    "grace_term": ("grace_period", "grace_months", "remaining_grace_months"),
    "school_interest": ("in_school_interest", "interest_in_school"),
    "deferment_start": ("months_to_deferment", "first_deferred_month"),
    "deferment_term": ("deferment_months", "deferment_period", "months_of_deferment"),
    "deferment_interest": ("interest_in_deferment", "deferred_interest"),
    "graduation_frequency": ("months_between_graduations", "graduation_step"),
    "draw_term": ("draw_period", "remaining_draw_period", "months_to_end_of_draw"),
    "credit_limit": ("line_limit", "credit_line", "commitment", "line_amount"),
    "purchase_rate": ("draw_rate", "monthly_purchase_rate", "spend_rate"),
    "utilization": ("utilisation", "utilization_rate", "target_utilization"),
    "payment_rate": ("monthly_payment_rate", "mpr", "principal_payment_rate"),
    "interchange_rate": ("interchange", "interchange_yield"),
    "fee_rate": ("fee_yield", "annual_fee_rate", "late_fee_rate"),
    "cashflows": ("cashflow_table", "cashflow_name", "projected_cashflow"),
    "behaviour": ("behavior", "behaviour_applied"),
    "payment_frequency": ("payment_interval", "repayment_frequency", "pay_frequency"),
    "origination_date": ("orig_date", "loan_origination_date", "disbursement_date"),
    "next_payment_date": ("next_due_date", "next_pay_date", "next_installment_date", "payment_due_date"),
    "paid_to_date": ("interest_paid_to_date", "interest_paid_through_date", "paid_through_date"),
    "maturity_date": ("loan_maturity_date", "final_payment_date", "final_maturity_date"),
    "day_count": ("day_count_convention", "day_count_basis", "accrual_basis", "interest_basis"),
    "final_stub": ("last_stub", "final_stub_type", "last_period"),
    "business_day": ("business_day_convention", "payment_business_day", "roll_convention"),
    "accrual_business_day": ("accrual_business_day_convention", "accrual_adjustment"),
    "calendar": ("payment_calendar", "holiday_calendar", "business_calendar"),
    "month_end": ("end_of_month", "end_of_month_rule", "eom_rule"),
    # Not prepayment_penalty: what tapes have under it is an indicator or a code, and no name of the tape's penalties.
    "penalty": ("penalty_name", "prepayment_penalty_name", "penalty_schedule"),
    "neg_am_limit": ("negative_amortization_limit", "neg_am_cap", "maximum_negative_amortization"),
}  # fmt: skip


def squash(header: str) -> str:
    """Header without case, spaces, underscores and punctuation; the percent sign stays, it is a unit."""
    return "".join(c for c in header.casefold() if c.isalnum() or c == "%")


OWN = {squash(name): name for name in COLUMN_NAMES}
LENDERS = {squash(alias): name for name, aliases in ALIASES.items() for alias in aliases}


def rate_divisor(header: str) -> float:
    """What the values below a rate's header are divided by: 100 for a percent header, else 1."""
    squashed = squash(header)
    return next((divisor for unit, divisor in RATE_UNITS.items() if unit in squashed), 1.0)


def column_of(header: str) -> tuple[str, bool] | None:
    """The tape column a header stands for and whether the header is its own name; None if it stands for none."""
    squashed = squash(header)
    if squashed in OWN:
        return OWN[squashed], True
    if squashed in LENDERS:
        return LENDERS[squashed], False
    for unit in RATE_UNITS:
        if unit in squashed:
            bare = squashed.replace(unit, "")
            name = OWN.get(bare) or LENDERS.get(bare)
            return (name, bare in OWN) if name in RATE_COLUMNS and name is not None else None
    return None
