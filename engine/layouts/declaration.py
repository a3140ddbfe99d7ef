"""What a layout of loan files declares: how it is known, which column is which of ours, in which unit and code.

A layout is data: engine/layout_tape.py reads every file by its declaration, so that a new layout is one file here and
a line in engine/layouts/__init__.py.
"""

from typing import Literal

import msgspec

Kind = Literal["text", "number", "percent", "months", "date", "code"]

# Of loans in the pool, the best first.
IN_POOL = (
    "current", "delinquent_30", "delinquent_60", "delinquent_90", "delinquent_120", "forbearance", "foreclosure",
    "repossessed", "reo", "default", "unknown",
)  # fmt: skip
# Of loans that have left it.
LEFT_POOL = ("prepaid", "matured", "repurchased", "liquidated", "charged_off", "removed", "zero_balance")
# In which a projection would be wrong to take the balance as performing.
NOT_PERFORMING = IN_POOL[1:5] + IN_POOL[6:10]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One of our columns, or a step towards one, and how it is read.

    theirs: columns of the file; the first that holds a value counts, loan by loan. kind: what the cells hold; a
    percent becomes a decimal, a date its month. form: strptime format of a date. codes: cell -> value, anything else
    is a fault. blanks: cells that stand for no value, beside empty ones. pattern: regular expression whose first group
    is the value. scale: what numbers are divided by. once: whether a text with a semicolon, by which repeated elements
    are joined, is a fault.
    """

    ours: str
    theirs: tuple[str, ...]
    kind: Kind = "number"
    form: str = ""
    codes: dict[str, str] = {}
    blanks: tuple[str, ...] = ()
    pattern: str = ""
    scale: float = 1.0
    upper: bool = False
    once: bool = False


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A layout of loan files.

    columns: names by position in a file without a header, none where the file has one. counts: how many columns such
    files have had over the years. marks: headers (or the XML namespace) that tell the layout from every other. id_at:
    position and regular expression of the loan id where the column count alone does not. record: XML element of a
    loan. several_periods: rows of many months, of which one is the tape. footers: beginnings of lines that are no
    loans. period: the reading of the reporting period.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    readings: tuple[Reading, ...]
    container: Literal["delimited", "xml"] = "delimited"
    delimiter: str = ","
    quoted: bool = True
    columns: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    marks: tuple[str, ...] = ()
    id_at: tuple[int, str] | None = None
    record: str = ""
    period: Reading | None = None
    several_periods: bool = False
    preambles: tuple[str, ...] = ()
    footers: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns of the file without which there is no tape: those of the three that every loan needs."""
        return tuple(
            reading.theirs[0] for reading in self.readings if reading.ours in ("balance", "annual_rate", "loan_id")
        )
