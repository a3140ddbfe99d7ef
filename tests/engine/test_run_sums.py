"""Contract sums kept by run: many chunks, scenarios and walks together give what each gives alone."""

import numpy as np
import pytest

import engine
from engine import chunks
from tests.engine.test_kernel import ALL, HARD, many, request

pytestmark = pytest.mark.usefixtures("small_chunks")


def mixed(loans: int) -> engine.Tape:
    """Fixed and floating loans in groups, several chunks of them."""
    random = np.random.default_rng(3)
    floats = random.random(loans) < 0.5
    return engine.Tape.from_columns(
        balance=random.uniform(1, 1e6, loans),
        annual_rate=random.choice([0.04, 0.055], loans),
        remaining_term=random.integers(12, 121, loans),
        age=random.integers(0, 60, loans),
        group=random.choice(["a", "b", "c"], loans).tolist(),
        index=["ref" if each else None for each in floats],
        margin=np.where(floats, 0.02, np.nan),
        first_reset=[int(n) if each else None for each, n in zip(floats, random.integers(1, 13, loans), strict=True)],
        reset_frequency=[12 if each else None for each in floats],
        life_cap=np.where(floats, 0.06, np.nan),
    )


def scenarios(count: int) -> list[engine.Scenario]:
    """Scenarios of unlike speeds, lags and index values; some advance principal, so that losses are capped."""
    return [
        engine.Scenario(
            name=str(k),
            assumptions=engine.Assumptions(
                prepayment=engine.Psa(speed=0.5 + k / 4) if k % 2 else engine.Cpr(rate=0.02 * k),
                default=engine.Cdr(rate=0.01 + 0.005 * k),
                severity=0.3 + 0.02 * k,
                recovery_lag=3 * (k % 3),
                advancing="principal_and_interest" if k % 3 == 2 else "none",
                rates={"ref": engine.MonthlyRates(rates=[0.02, 0.03 + 0.001 * (k % 2)])},
            ),
        )
        for k in range(count)
    ]


@pytest.mark.parametrize("level", ["pool", "group"])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_every_number_of_threads_gives_the_same_bits(level: str, count: int) -> None:
    tape = mixed(9_000)
    one = engine.project(request(tape, HARD, scenarios=scenarios(count), level=level), threads=1)
    for threads in (2, 4):
        other = engine.project(request(tape, HARD, scenarios=scenarios(count), level=level), threads=threads)
        for name in ALL:
            np.testing.assert_array_equal(other[name], one[name], err_msg=f"{name} with {threads} threads")


@pytest.mark.parametrize("level", ["pool", "group"])
def test_a_scenario_among_many_is_what_it_is_alone(level: str) -> None:
    tape, several = mixed(5_000), scenarios(7)
    together = engine.project(request(tape, HARD, scenarios=several, level=level))
    for k, scenario in enumerate(several):
        alone = engine.project(request(tape, HARD, scenarios=[scenario], level=level))
        for name in ALL:
            scale = 1e-12 * np.abs(alone[name]).max(initial=1.0)
            found = together[name][k][..., : alone.periods]
            np.testing.assert_allclose(found, alone[name], rtol=1e-12, atol=scale, err_msg=f"{name} of {scenario.name}")


def test_groups_add_up_to_the_pool() -> None:
    tape, several = mixed(5_000), scenarios(5)
    pool, group = (engine.project(request(tape, HARD, scenarios=several, level=level)) for level in ("pool", "group"))
    for name in ALL:
        scale = 1e-12 * np.abs(pool[name]).max(initial=1.0)
        np.testing.assert_allclose(group[name].sum(axis=1), pool[name], rtol=1e-11, atol=scale, err_msg=name)


def test_losses_taken_loan_by_loan_agree_with_those_of_the_sums() -> None:
    # Insurance that covers nothing makes the engine look at each loan; the flows stay as they are.
    tape = many(5_000)
    arrays = tape.columns
    assert arrays is not None
    uninsured = engine.Tape.from_columns(
        **{name: value for name in engine.Columns.__struct_fields__ if (value := getattr(arrays, name)) is not None}
        | {"mortgage_insurance": np.where(np.arange(5_000) == 0, 1e-300, 0.0)}
    )
    of_sums, by_loan = (engine.project(request(each, HARD)) for each in (tape, uninsured))
    for name in ALL:
        scale = 1e-11 * np.abs(of_sums[name]).max(initial=1.0)
        np.testing.assert_allclose(by_loan[name], of_sums[name], rtol=1e-10, atol=scale, err_msg=name)


def test_the_tapes_of_these_tests_have_several_chunks() -> None:
    tape = mixed(5_000)
    plan = type("Plan", (), {"level": "pool"})
    assert len(chunks.slices_of(plan, len(tape))) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize("loans", [1, 2_048, 2_049, 5_000, 8_193, 100_000])
def test_chunks_are_even_in_number_and_equal_in_size(loans: int) -> None:
    plan = type("Plan", (), {"level": "pool"})
    sizes = [part.stop - part.start for part in chunks.slices_of(plan, loans)]  # type: ignore[arg-type]
    assert sum(sizes) == loans
    assert len(sizes) == 1 or len(sizes) % 2 == 0
    assert max(sizes) - min(sizes) < len(sizes)
