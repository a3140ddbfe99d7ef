"""Transition models as REST and GraphQL run them: within the limits, and as views."""

import msgspec
import numpy as np

import engine
from api import limits
from api.errors import Refusal
from api.settings import Settings
from engine.transition_views import TransitionViews, views_of
from engine.transitions import MAX_MONTHS, TransitionRequest, default_months, project_transitions


def months_of(request: TransitionRequest) -> int:
    """Months that a request projects at most; what is out of range the engine refuses."""
    terms = limits.longest(limits.terms_of(request.tape))
    whole = default_months(request.model, terms) if request.months is None else request.months
    return min(max(whole, 1), MAX_MONTHS)


class Size(msgspec.Struct, frozen=True):
    """The size of an outcome: ages at the cut-off, states and months."""

    vintages: int
    states: int
    months: int

    @property
    def numbers(self) -> int:
        """Numbers that are made: the balance by vintage, month and move."""
        return self.vintages * self.states**2 * max(self.months, self.states)


def size_of(request: TransitionRequest) -> Size:
    """The size of a request's outcome; nothing of one whose tape is faulty, which the engine refuses."""
    try:
        vintages = len(np.unique(request.tape.arrays().age))
    except engine.TapeError:
        vintages = 0
    return Size(vintages, len(request.model.states), months_of(request))


def check(request: TransitionRequest, settings: Settings) -> Size:
    """The size of a request's outcome. Raises Refusal (413) for what is too large."""
    limits.check_loan_months(len(request.tape) * months_of(request), settings)
    size = size_of(request)
    if size.numbers > settings.max_result_cells:
        raise Refusal(
            413,
            f"The model makes {size.numbers:,} numbers, by age, month and move; at most {settings.max_result_cells:,} "
            "are made at once. Ask for fewer months, states or ages.",
        )
    return size


def moved(request: TransitionRequest) -> TransitionViews:
    """The views of a request. Raises InvalidInput with every fault."""
    outcome = project_transitions(
        request.tape, request.model, request.status, request.months, rates=request.rates,
        cutoff_date=request.cutoff_date,
    )  # fmt: skip
    return views_of(outcome)
