"""The output fields, declared once: kernel, columns, REST, GraphQL and documentation derive from FIELDS.

Sign and timing: every amount is positive, flows are paid at the end of the period in which they fall,
stocks are measured at the end of it. `interest` and `scheduled_principal` are what investors are passed
before fees: under advancing they include what the servicer advances on defaulted balances. One exception to the
sign: what a payment does not cover of the interest is added to the balance, and scheduled_principal is then negative,
expected_principal and, of what the servicer advances, advanced_principal too: it advances the payment, all the interest
(but for advance_share) less what is added. principal may be negative with it.
"""

from typing import Literal

import msgspec


class Field(msgspec.Struct, frozen=True):
    """One output column: its name, whether it is a flow or a stock, its unit and its meaning."""

    name: str
    kind: Literal["flow", "stock"]
    unit: str
    doc: str


FIELDS: tuple[Field, ...] = (
    Field(
        "balance",
        "stock",
        "currency",
        "Performing balance at the end of the period; with delinquency, what is late too.",
    ),
    Field("interest", "flow", "currency", "Interest passed on, before the servicing fee, advances included."),
    Field(
        "scheduled_principal",
        "flow",
        "currency",
        "Scheduled principal, balloons and principal advances included; negative by interest added to the balance.",
    ),
    Field("prepayment", "flow", "currency", "Voluntary prepayment of principal."),
    Field("default", "flow", "currency", "Balance that defaults in the period."),
    Field("recovery", "flow", "currency", "Principal recovered on liquidation, with the lag after default."),
    Field("loss", "flow", "currency", "Principal lost, booked on liquidation unless conventions book it at default."),
    Field("servicing_fee", "flow", "currency", "Servicing fee of the period."),
    Field("net_interest", "flow", "currency", "Interest less the servicing fee."),
    Field(
        "principal",
        "flow",
        "currency",
        "Scheduled principal, prepayment and recovery; less than 0 where the first is by more than the others.",
    ),
    Field(
        "cashflow",
        "flow",
        "currency",
        "Cash to investors: principal, net interest, other income and prepayment penalties, less draws.",
    ),
    Field("foreclosure", "stock", "currency", "Defaulted balance not yet liquidated, at the end of the period."),
    Field("expected_interest", "flow", "currency", "Interest due on the performing and the defaulted balance."),
    Field("lost_interest", "flow", "currency", "Interest that borrowers in default do not pay."),
    Field(
        "expected_principal",
        "flow",
        "currency",
        "Scheduled principal due, negative where interest is added; on defaulted balances too if advanced.",
    ),
    Field("advanced_interest", "flow", "currency", "Part of interest that the servicer advances."),
    Field(
        "advanced_principal",
        "flow",
        "currency",
        "Part of scheduled principal that the servicer advances; negative by interest added to the balance, which "
        "advanced_interest has too.",
    ),
    Field(
        "liquidation",
        "flow",
        "currency",
        "Defaulted balance liquidated in the period: recovery and loss but shortfall.",
    ),
    Field("mortgage_insurance", "flow", "currency", "Part of recovery that mortgage insurance pays."),
    Field("recouped_advances", "flow", "currency", "Part of loss: interest advanced that the servicer takes back."),
    Field("delinquent_30", "stock", "currency", "Part of balance one payment behind, at the end of the period."),
    Field("delinquent_60", "stock", "currency", "Part of balance two payments behind."),
    Field("delinquent_90", "stock", "currency", "Part of balance three payments behind."),
    Field("delinquent_120", "stock", "currency", "Part of balance four payments behind."),
    Field("draw", "flow", "currency", "Money lent in the period after the cut-off; cashflow is net of it."),
    Field("other_income", "flow", "currency", "Income beside interest: interchange, fees, gains on residuals."),
    Field(
        "shortfall",
        "flow",
        "currency",
        "Part of loss that is no default: dilution, residuals below value, forgiveness.",
    ),
    Field("prepayment_penalty", "flow", "currency", "Penalties paid on prepayments, beside the principal prepaid."),
    Field("curtailment", "flow", "currency", "Part of prepayment that pays loans down and does not end them."),
    Field("forbearance", "stock", "currency", "Part of balance in forbearance, at the end of the period."),
    Field("modified", "stock", "currency", "Part of balance that has been modified."),
)

FIELD_NAMES: tuple[str, ...] = tuple(field.name for field in FIELDS)
FIELD_INDEX: dict[str, int] = {name: i for i, name in enumerate(FIELD_NAMES)}
# What a request without `fields` answers with.
DEFAULT_FIELDS: tuple[str, ...] = FIELD_NAMES[:12]
