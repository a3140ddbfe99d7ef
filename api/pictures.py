"""Pictures of profiles, as files at the shell and as answers over REST."""

import io
from threading import Lock
from typing import Any

from engine.errors import TapeFileError
from engine.profile import Profile
from engine.strata import Stratification, Stratum

INK, BAR, LATE = "#22223b", "#2f6690", "#c1554d"
TITLES = {
    "annual_rate": "Annual rate",
    "remaining_term": "Remaining months",
    "balance": "Balance of the loan",
    "age": "Age in months",
    "group": "Group",
    "status": "Status",
}
MOST_BARS = 12
GOOD = ("current", "forbearance", "unknown")


# matplotlib shares its fonts and its settings between figures.
drawing = Lock()


def profile_picture(profile: Profile, title: str, format: str) -> bytes:
    """The picture of a profile: its figures, and the share of the balance in each stratum.

    format: png, svg or pdf. Raises TapeFileError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TapeFileError("a picture needs matplotlib; install it with `pip install matplotlib`") from error
    with drawing:
        figure = drawn(Figure, profile, title)
        out = io.BytesIO()
        figure.savefig(out, format=format, metadata={"Date": None} if format == "svg" else None)
    return out.getvalue()


def drawn(figure_class: Any, profile: Profile, title: str) -> Any:
    """The figure: a line of figures at the top, then a panel for each stratification."""
    shown = [strata for strata in profile.strata if strata.strata]
    columns = 3 if len(shown) > 4 else 2
    rows = max(-(-len(shown) // columns), 1)
    figure = figure_class(figsize=(4.3 * columns, 1.25 + 2.9 * rows), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
    head, body = figure.subfigures(2, 1, height_ratios=[0.9, 2.9 * rows])
    heading(head, profile, title)
    panels = body.subplots(rows, columns, squeeze=False).ravel()
    for axes, strata in zip(panels, shown, strict=False):
        bars(axes, strata)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    return figure


def heading(figure: Any, profile: Profile, title: str) -> None:
    """The title and the figures below it."""
    figure.text(0.02, 0.80, title.replace("$", r"\$"), fontsize=13, fontweight="bold", color=INK, va="center")
    facts = [
        ("Loans", f"{profile.loans:,}"),
        ("Balance", amount(profile.balance)),
        ("Average", amount(profile.average_balance)),
        ("WAC", f"{profile.wac:.3%}"),
        ("WAM", f"{profile.wam:.1f}"),
        ("WALA", "none" if profile.wala is None else f"{profile.wala:.1f}"),
    ]
    if profile.not_performing:
        facts.append(("Not performing", f"{profile.not_performing / profile.balance:.1%}"))
    step = 0.97 / max(len(facts), 7)
    for i, (name, text) in enumerate(facts):
        color = LATE if name == "Not performing" else INK
        figure.text(0.02 + i * step, 0.42, name, fontsize=8, color="#666666", va="center")
        figure.text(0.02 + i * step, 0.14, text, fontsize=12, color=color, va="center")


def amount(value: float) -> str:
    """An amount as it reads well: 13.8 million."""
    for unit, divisor in (("bn", 1e9), ("m", 1e6), ("k", 1e3)):
        if value >= divisor:
            return f"{value / divisor:,.1f}{unit}"
    return f"{value:,.2f}"


def bars(axes: Any, stratification: Stratification) -> None:
    """One panel: a bar for each stratum, its share written beside it."""
    strata = folded(stratification)
    labels = [shortened(stratum.label) for stratum in strata]
    shares = [stratum.share * 100 for stratum in strata]
    late = [stratification.by == "status" and stratum.label not in GOOD for stratum in strata]
    places = list(range(len(strata)))[::-1]
    axes.barh(places, shares, color=[LATE if bad else BAR for bad in late], height=0.72)
    for place, share in zip(places, shares, strict=True):
        written = f"{share:.1f}%" if share >= 0.05 else "<0.1%"
        axes.text(share + max(shares) * 0.02, place, written, va="center", fontsize=7.5, color="#444444")
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlim(0, max(shares) * 1.18 or 1)
    # Few bars keep the height of five.
    axes.set_ylim(len(strata) - max(len(strata), 5) - 0.6, len(strata) - 0.4)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    axes.tick_params(length=0, colors="#444444")
    axes.set_xticks([])
    by = TITLES.get(stratification.by, stratification.by)
    axes.set_title(f"{by}, share of the balance", loc="left", fontsize=9.5, color=INK)


def folded(stratification: Stratification) -> list[Stratum]:
    """The strata that fit a panel; of texts, those past the eleventh are drawn as one."""
    strata = stratification.strata
    if len(strata) <= MOST_BARS:
        return strata
    kept, rest = strata[: MOST_BARS - 1], strata[MOST_BARS - 1 :]
    balance = sum(stratum.balance for stratum in rest)
    return [
        *kept,
        Stratum(
            label="others", low=None, high=None, loans=sum(s.loans for s in rest), balance=balance,
            share=sum(s.share for s in rest), wac=0.0, wam=0.0,
        ),
    ]  # fmt: skip


def shortened(label: str) -> str:
    """A label that fits: millions and thousands in `1,000,000 to 2,000,000`, other texts cut at 18 characters."""
    ends = label.split(" to ")
    if len(ends) == 2 and all(end.replace(",", "").isdigit() for end in ends) and "," in label:
        return " to ".join(compact(float(end.replace(",", ""))) for end in ends)
    # A dollar sign would begin a formula.
    text = label.replace("$", r"\$")
    return text if len(text) <= 18 else text[:17] + "…"


def compact(value: float) -> str:
    for unit, divisor in (("bn", 1e9), ("m", 1e6), ("k", 1e3)):
        if value >= divisor:
            return f"{value / divisor:g}{unit}"
    return f"{value:g}"
