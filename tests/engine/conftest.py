"""Fixtures of the engine's tests."""

import pytest

from engine import chunks


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks so small that the tapes of the tests have many of them."""
    monkeypatch.setattr(chunks, "SMALLEST_CHUNK", 2_048)
