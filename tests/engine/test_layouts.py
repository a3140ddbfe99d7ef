"""Layouts of loan files: what they declare, and the samples read in each."""

import importlib.util
import io
from typing import Any

import numpy as np
import pytest

import engine
from engine.layout_files import BLOCK
from engine.layout_options import LayoutTape
from engine.layouts import LAYOUTS
from engine.layouts.declaration import IN_POOL, LEFT_POOL
from engine.tape_files import iter_tape, read_tape
from tests.engine.layout_world import FANNIE, FILES, ROOT, SAMPLES, columns_of, fannie, refused, report_of, tape

SCRIPT = ROOT / "scripts" / "make_layout_samples.py"

# The declarations


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_a_layout_reads_what_every_loan_needs_and_cites_its_source(layout: Any) -> None:
    ours = {reading.ours for reading in layout.readings}
    assert {"loan_id", "balance", "annual_rate"} <= ours
    assert {"remaining_term", "maturity_date", "original_term"} & ours
    assert len(ours) == len(layout.readings)
    assert all(layout.sources)
    assert all(len(set(reading.theirs)) == len(reading.theirs) for reading in layout.readings)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_status_codes_map_to_the_statuses_alone(layout: Any) -> None:
    for reading in layout.readings:
        if reading.ours in ("left_pool", "account_status", "relief", "seizure"):
            assert set(reading.codes.values()) - {""} <= {*IN_POOL, *LEFT_POOL}


def test_every_name_by_position_is_unique_and_used_names_exist() -> None:
    for layout in LAYOUTS.values():
        if layout.columns:
            assert len(set(layout.columns)) == len(layout.columns) >= max(layout.counts)
    assert (FANNIE[43], FANNIE[39], FANNIE[107]) == ("ZERO_BAL_CODE", "DLQ_STATUS", "ADR_UPB")


# The samples


def test_script_writes_the_committed_samples() -> None:
    spec = importlib.util.spec_from_file_location("make_layout_samples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.samples()
    assert sorted(written) == sorted(path.name for path in SAMPLES.iterdir())
    for name, text in written.items():
        assert (SAMPLES / name).read_bytes() == text.encode()
    assert set(FILES) == set(LAYOUTS)


@pytest.mark.parametrize("name", FILES)
def test_each_sample_is_detected_read_and_projected(name: str) -> None:
    read = tape(FILES[name])
    report = report_of(read)
    assert report.layout == name
    assert report.loans == len(read) == len(read.arrays())
    assert report.rows == report.loans + report.other_periods + report.skipped + sum(report.left_pool.values())
    assert report.problems == []
    balance = columns_of(read).balance
    cashflows = engine.project(engine.ProjectionRequest(tape=read))
    assert cashflows.opening_balance == pytest.approx(balance.sum())
    paid = cashflows.principal.sum() + cashflows.loss.sum()
    assert paid == pytest.approx(balance.sum(), rel=1e-9)
    assert set(read.extra["status"]) <= set(IN_POOL)
    assert all(len(values) == len(read) for values in read.extra.values())


def test_floating_terms_become_columns_where_they_are_asked_for() -> None:
    kept = tape(FILES["fannie_mae_mbs"])
    assert columns_of(kept).index is None
    read = tape(FILES["fannie_mae_mbs"], floating=True)
    columns = columns_of(read)
    names = {name for name in columns.index if name}
    floats = np.array([bool(name) for name in columns.index])
    assert names
    assert not floats.all()
    assert "index" not in read.extra
    np.testing.assert_array_equal(columns.margin[floats], kept.extra["margin"][floats])
    assert np.isnan(columns.first_reset[~floats]).all()
    with pytest.raises(engine.AssumptionError, match="has no rates"):
        engine.project(engine.ProjectionRequest(tape=read))
    rates = dict.fromkeys(names, engine.FlatRate(rate=0.08))
    moved = engine.project(engine.ProjectionRequest(tape=read, assumptions=engine.Assumptions(rates=rates)))
    still = engine.project(engine.ProjectionRequest(tape=kept))
    assert moved["interest"].sum() > still["interest"].sum()


# First loans of the samples, read off the files: id, balance, rate, remaining term, age.
FIRST = {
    "fannie_mae": ("100000000000", 100_256.24, 0.01812, 146, 34),
    "fannie_mae_mbs": ("77000000", 263_810.31, 0.06751, 347, 13),
    "freddie_mac": ("F20Q10000000", 132_483.85, 0.03643, 313, 47),
    # May 2017 to December 2018 are 19 months, of 60.
    "lending_club": ("68000000", 13_499.25, 0.1213, 41, 19),
    # The first payment was in the reporting month itself.
    "sec_auto": ("2024-1 - 000000", 20_426.84, 0.09179, 59, 1),
    # October 2020 to December 2024 are 50 months; December 2024 to October 2045 are 250.
    "esma_residential": ("X00000", 142_021.47, 0.03215, 250, 50),
}


@pytest.mark.parametrize("name", FIRST)
def test_first_loan_of_a_sample_is_as_its_line_says(name: str) -> None:
    columns = columns_of(tape(FILES[name]))
    ident, balance, rate, term, age = FIRST[name]
    assert columns.loan_id[0] == ident
    assert columns.balance[0] == balance
    assert columns.annual_rate[0] == pytest.approx(rate, abs=1e-15)
    assert (columns.remaining_term[0], columns.age[0]) == (term, age)


def test_batches_of_a_layout_are_the_whole_tape() -> None:
    whole = columns_of(read_tape(FILES["fannie_mae"]))
    parts = list(iter_tape(FILES["fannie_mae"]))
    np.testing.assert_array_equal(np.concatenate([columns_of(part).balance for part in parts]), whole.balance)


def test_a_file_of_many_blocks_is_read_in_order_and_its_rows_keep_their_numbers() -> None:
    n = 50_000
    line = fannie({}).getvalue().decode().strip().replace("100000000000", "{:012d}")
    lines = [line.format(i + 1) for i in range(n)]
    lines[35_000] = lines[35_000].replace("|233345.67|", "|no|")
    lines[49_998] = lines[49_998].replace("|00|", "|00|7|")
    # The first block of rows holds no loan in the pool, and its rows are counted all the same.
    for i in range(24_000):
        lines[i] = lines[i].replace("|233345.67|", "|0|")
    source = io.BytesIO("\n".join([*lines, "too|short", "too|short"]).encode())
    assert len(source.getvalue()) > 2 * BLOCK
    read = tape(source, on_error="skip", extra=False)
    report = report_of(read)
    assert (report.rows, report.loans, report.skipped, report.left_pool) == (n + 2, 25_998, 4, {"zero_balance": 24_000})
    assert columns_of(read).loan_id[[0, -1]].tolist() == ["000000024001", "000000050000"]
    found = {problem.kind: (problem.count, problem.rows) for problem in report.problems}
    assert found == {"unreadable": (1, [35_001]), "wrong_columns": (3, [49_999, 50_001, 50_002])}
    parts = list(iter_tape(source, on_error="skip"))
    assert sum(report_of(part).rows for part in parts if isinstance(part, LayoutTape)) == n + 2
    assert "row 35001, column 'CURRENT_UPB' is 'no'" in refused(source)
