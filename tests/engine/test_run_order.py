"""Tapes of many runs are done in parts of bounded memory, and give what they give at once."""

import subprocess
import sys
import textwrap
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

import engine
from engine import _core, run_order
from tests.engine.test_kernel import ALL, HARD, many, request
from tests.engine.test_run_sums import mixed, scenarios


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parts of a few runs whatever the tape; how many parts each projection was done in."""
    monkeypatch.setattr(run_order, "MOST", 0)
    monkeypatch.setattr(run_order, "ROOM", 2**15)
    told: list[int] = []
    whole = run_order.cut

    def counted(*arguments: Any) -> list[slice]:
        parts = whole(*arguments)
        told.append(len(parts))
        return parts

    monkeypatch.setattr(run_order, "cut", counted)
    return told


def whole_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tape is done in parts from here on."""
    monkeypatch.undo()
    monkeypatch.setattr(run_order, "MOST", 2**60)
    monkeypatch.setattr(run_order, "LITTLE", 2**60)


def agree(found: engine.Cashflows, whole: engine.Cashflows) -> None:
    for name in whole.fields:
        scale = 1e-11 * np.abs(whole[name]).max(initial=1.0)
        np.testing.assert_allclose(found[name], whole[name], rtol=1e-11, atol=scale, err_msg=name)


@pytest.mark.parametrize("level", ["pool", "group"])
@pytest.mark.parametrize("count", [1, 7])
def test_parts_add_up_to_the_whole(
    monkeypatch: pytest.MonkeyPatch, small_parts: list[int], level: str, count: int
) -> None:
    tape = mixed(3_000)
    found = engine.project(request(tape, HARD, scenarios=scenarios(count), level=level))
    assert small_parts
    assert small_parts[-1] > (1 if count == 1 else 10)
    assert small_parts[-1] % 2 == 0
    whole_again(monkeypatch)
    whole = engine.project(request(tape, HARD, scenarios=scenarios(count), level=level))
    agree(found, whole)
    assert found.opening_balance == whole.opening_balance


@pytest.mark.parametrize("after", ["recast", "level"])
def test_parts_know_the_terms_of_their_loans(
    monkeypatch: pytest.MonkeyPatch, small_parts: list[int], after: Literal["recast", "level"]
) -> None:
    # Penalties, payers by the quarter and payments kept after curtailment come from arrays of the whole tape.
    random, n = np.random.default_rng(4), 2_000
    tape = engine.Tape.from_columns(
        balance=random.uniform(1e4, 1e6, n), annual_rate=random.uniform(0.02, 0.08, n),
        remaining_term=3 * random.integers(4, 60, n), age=random.integers(0, 30, n),
        payment_frequency="monthly" if after == "level" else random.choice(["monthly", "quarterly"], n).tolist(),
        servicing_fee=random.uniform(0, 0.01, n), group=random.choice(["a", "b", None], n).tolist(),
        amortization=random.choice(["level_pay", "linear"], n).tolist(),
        penalty=random.choice(["fades", None], n).tolist() if after == "recast" else None,
        penalties={"fades": [engine.StepDownPenalty(rates=[0.05, 0.04, 0.03])]},
    )  # fmt: skip
    assumed = engine.Assumptions(
        prepayment=engine.Psa(speed=1.5), default=engine.Cdr(rate=0.02), severity=0.3, recovery_lag=6,
        curtailment=engine.Smm(rate=0.005) if after == "level" else None,
        groups={"a": engine.Assumptions(prepayment=engine.Cpr(rate=0.2), recovery_lag=6)},
    )  # fmt: skip
    asked = request(
        tape, assumed, level="group", conventions=engine.Conventions(after_curtailment=after),
        fields=[*ALL, "prepayment_penalty"],
    )  # fmt: skip
    found = engine.project(asked)
    assert small_parts
    assert small_parts[-1] > 10
    assert (found.prepayment_penalty.sum() > 0) == (after == "recast")
    whole_again(monkeypatch)
    agree(found, engine.project(asked))


@pytest.mark.parametrize("level", ["pool", "group"])
def test_parts_give_the_same_bits_for_every_number_of_threads(small_parts: list[int], level: str) -> None:
    tape = mixed(3_000)
    one = engine.project(request(tape, HARD, scenarios=scenarios(3), level=level), threads=1)
    for threads in (2, 4):
        other = engine.project(request(tape, HARD, scenarios=scenarios(3), level=level), threads=threads)
        assert all(other[name].tobytes() == one[name].tobytes() for name in ALL)
    assert len(small_parts) == 3


def test_a_group_of_single_loans_owes_what_the_loans_owe(small_parts: list[int]) -> None:
    # Runs of one loan are taken eight at a time, a run a lane; loan level takes them loan by loan.
    tape = many(300)
    columns = tape.columns
    assert columns is not None
    alone = {name: value for name in engine.Columns.__struct_fields__ if (value := getattr(columns, name)) is not None}
    each = engine.Tape.from_columns(**(alone | {"group": [f"{i:03d}" for i in range(300)]}))
    groups, loans = (engine.project(request(each, HARD, level=level)) for level in ("group", "loan"))
    assert small_parts
    for name in ALL:
        np.testing.assert_allclose(groups[name], loans[name], rtol=1e-13, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("single", [False, True])
def test_parts_begin_late_loans_where_they_are(
    monkeypatch: pytest.MonkeyPatch, small_parts: list[int], single: bool
) -> None:
    plain = many(300).columns
    assert plain is not None
    late = [(None, "delinquent_30", "delinquent_90", "delinquent_120", "default")[i % 5] for i in range(300)]
    group = [f"{i:03d}" if single else "abc"[i % 3] for i in range(300)]
    tape = engine.Tape(columns=msgspec.structs.replace(plain, status=late, group=group))
    rolls = engine.Delinquency(roll=[0.02, 0.3, 0.5], cure=[0.4, 0.2])
    assumed = engine.Assumptions(
        prepayment=engine.Psa(), delinquency=rolls, severity=0.4, recovery_lag=3,
        groups={"b": engine.Assumptions(default=engine.Cdr(rate=0.1), severity=0.5, recovery_lag=6)},
    )  # fmt: skip
    found = engine.project(request(tape, assumed, level="group"))
    assert small_parts
    whole_again(monkeypatch)
    agree(found, engine.project(request(tape, assumed, level="group")))
    loans = engine.project(request(tape, assumed, level="loan"))
    for name in ALL:
        np.testing.assert_allclose(
            found[name].sum(axis=0), loans[name].sum(axis=0), rtol=1e-11, atol=1e-7, err_msg=name
        )


def test_runs_take_no_more_memory_than_a_part_of_them() -> None:
    """A thousand groups, each with a run for every maturity: gigabytes, were they kept together."""
    program = """
        import resource, numpy as np, engine
        n = 60_000
        tape = engine.Tape.from_columns(
            balance=1e5, annual_rate=0.05, remaining_term=180 + np.arange(n) * 7 % 181,
            group=np.char.add("g", (np.arange(n) % 1000).astype(str)))
        assumed = engine.Assumptions(default=engine.Cdr(rate=0.01), severity=0.3, recovery_lag=12)
        asked = engine.ProjectionRequest(tape=tape, assumptions=assumed, level="group", fields=["balance", "loss"])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        engine.project(asked, threads=2)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    # Some fifty thousand runs of 374 months: 160 MB in one row of each, and twice that beside it in chunks.
    assert int(done.stdout) < 150


@pytest.mark.parametrize("loans", [1, 7, 300, 40_000])
@pytest.mark.parametrize("widest", [2, 400, 2**31 - 1])
def test_loans_are_sorted_into_runs_as_by_a_plain_sort(loans: int, widest: int) -> None:
    random = np.random.default_rng(loans + widest)
    near, *keys = (random.integers(-3, top, loans).astype(np.int32) for top in (50, widest, 3, 1_000, widest, 2))
    some = np.flatnonzero(random.random(loans) < 0.7)
    for chosen in (None, some) if len(some) else (None,):
        index = np.arange(loans) if chosen is None else chosen
        order, begins = _core.in_runs([near], keys, chosen, len(index))
        expected = index[np.lexsort([key[index] for key in (near, *keys)])]
        np.testing.assert_array_equal(order, expected)
        differ = np.any([np.diff(key[expected]) != 0 for key in keys], axis=0)
        np.testing.assert_array_equal(begins, np.concatenate([[0], np.flatnonzero(differ) + 1]))
