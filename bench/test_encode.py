"""Answers by media type, as REST encodes them: one loan, a hundred scenarios, and a thousand loans of their own."""

import io
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import engine
from api.encode import ENCODERS
from bench.peers import pool_of
from bench.test_cases import scenarios_of
from bench.test_kernel import request
from bench.timing import ROUNDS

SIZES = {"small": 12 * 360, "medium": 100 * 12 * 360, "large": 1000 * 8 * 360}


def balances_nested(answer: dict[str, Any]) -> list[Any]:
    """The balances of JSON and MessagePack, by scenario where there are several."""
    return [part["columns"]["balance"] for part in answer.get("scenarios", {"": answer}).values()]


BALANCES: dict[str, Callable[[bytes], Any]] = {
    "application/json": lambda data: balances_nested(msgspec.json.decode(data)),
    "application/msgpack": lambda data: balances_nested(msgspec.msgpack.decode(data)),
    "application/vnd.apache.arrow.stream": lambda data: pa.ipc.open_stream(data).read_all()["balance"],
    "application/vnd.apache.parquet": lambda data: pyarrow.parquet.read_table(io.BytesIO(data))["balance"],
    "text/csv": lambda data: pyarrow.csv.read_csv(io.BytesIO(data))["balance"],
}


@pytest.fixture(scope="module")
def answers() -> dict[str, engine.Cashflows]:
    fields = list(engine.DEFAULT_FIELDS)
    return {
        "small": engine.project(request(pool_of(1).tape, fields=fields)),
        "medium": engine.project(request(pool_of(1).tape, fields=fields, scenarios=scenarios_of(100))),
        "large": engine.project(request(pool_of(1000).tape, fields=fields[:8], level="loan")),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("media_type", BALANCES)
def test_encode(benchmark: BenchmarkFixture, answers: dict[str, engine.Cashflows], media_type: str, size: str) -> None:
    benchmark.group = "encoding"
    encoded = benchmark.pedantic(lambda: ENCODERS[media_type](answers[size]), rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info.update(
        milliseconds=1e3 * benchmark.stats.stats.min, numbers=SIZES[size], encoded_kb=len(encoded) / 1e3,
        million_numbers_a_second=SIZES[size] / benchmark.stats.stats.min / 1e6,
    )  # fmt: skip
    found = np.asarray(BALANCES[media_type](encoded), dtype=np.float64).reshape(-1)
    np.testing.assert_array_equal(found, answers[size]["balance"].reshape(-1))
