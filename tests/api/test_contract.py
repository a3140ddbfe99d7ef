"""A short, repeatable run of `make api-fuzz`: all operations of the OpenAPI document, examples, requests, chains."""

from datetime import timedelta
from pathlib import Path

from api.auth import issue_token
from tests.api import fuzz

SHORT = ["--phases", "examples,fuzzing,stateful", "--max-examples", "2", "--seed", "1", "--no-shrink"]


def test_the_service_does_what_its_document_says(tmp_path: Path) -> None:
    settings = fuzz.settings_in(str(tmp_path))
    token = issue_token(settings, "fuzzer", timedelta(hours=1), "admin")
    with fuzz.served(settings) as address:
        done = fuzz.run(address, token, [*SHORT, "--continue-on-failure"], str(tmp_path), capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 32" in done.stdout or "32 selected / 32 total" in done.stdout
