"""Credit cashflow engine: a loan tape and assumptions in, monthly cashflows out.

project(ProjectionRequest(tape=Tape.from_columns(...), assumptions=Assumptions(...))) is the whole of it.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from engine.assets import CashflowTable, GivenCashflow, Lease, Receivable, Revolving, StudentLoan
from engine.assumptions import PRESETS, Assumptions, Condition, Conventions, Rule, Scenario
from engine.cashflows import Cashflows, Work
from engine.composed_curves import Burnout, Scaled, Seasonal, Timing
from engine.conversion import convert
from engine.curves import Abs, Cdr, Cpr, Hep, Mdr, Mhp, Psa, Sda, Smm, Vector
from engine.delinquency import Delinquency
from engine.errors import AssumptionError, EngineError, InvalidInput, Problem, TapeError, TapeFileError
from engine.fields import DEFAULT_FIELDS, FIELD_NAMES, FIELDS, Field
from engine.layout_options import LayoutTape
from engine.layout_report import ReadReport, RowProblems
from engine.layouts import LAYOUTS
from engine.loans import Loan, RateSchedule, RateStep, Schedule
from engine.penalties import (
    FixedPenalty,
    InterestPenalty,
    Lockout,
    PercentagePenalty,
    StepDownPenalty,
    YieldMaintenance,
)
from engine.profile import Profile, profile
from engine.projection import project, project_batches
from engine.rates import DatedRates, FlatRate, Forwards, KeyRateShock, MonthlyRates, ParallelShock
from engine.request import ProjectionRequest
from engine.severity import LtvSeverity, PropertySeverity, SeverityVector
from engine.summary import Summary, summarize
from engine.tape import Columns, Tape
from engine.tape_files import iter_tape, read_tape
from engine.workouts import Forbearance, Modification

__all__ = [
    "DEFAULT_FIELDS", "FIELDS", "FIELD_NAMES", "LAYOUTS", "PRESETS", "Abs", "AssumptionError", "Assumptions", "Burnout",
    "CashflowTable", "Cashflows", "Cdr", "Columns", "Condition", "Conventions", "Cpr", "DatedRates", "Delinquency",
    "EngineError", "Field", "FixedPenalty", "FlatRate", "Forbearance", "Forwards", "GivenCashflow", "Hep",
    "InterestPenalty", "InvalidInput", "KeyRateShock", "LayoutTape", "Lease", "Loan", "Lockout", "LtvSeverity", "Mdr",
    "Mhp", "Modification", "MonthlyRates", "ParallelShock", "PercentagePenalty", "Problem", "Profile",
    "ProjectionRequest", "PropertySeverity", "Psa", "RateSchedule", "RateStep", "ReadReport", "Receivable", "Revolving",
    "RowProblems", "Rule", "Scaled", "Scenario", "Schedule", "Sda", "Seasonal", "SeverityVector", "Smm",
    "StepDownPenalty", "StudentLoan", "Summary", "Tape", "TapeError", "TapeFileError", "Timing", "Vector",
    "Work", "YieldMaintenance", "analytics", "convert", "credit_loss", "dates", "day_count", "iter_tape", "profile",
    "project", "project_batches", "read_tape", "summarize", "transitions",
]  # fmt: skip

# Imported on first use, so that a projection does not wait for them.
LAZY = ("analytics", "credit_loss", "dates", "day_count", "transitions")
if TYPE_CHECKING:
    from engine import analytics, credit_loss, dates, day_count, transitions


def __getattr__(name: str) -> ModuleType:
    if name in LAZY:
        return importlib.import_module(f"engine.{name}")
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
