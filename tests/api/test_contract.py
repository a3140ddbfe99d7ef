"""A short, repeatable run of `make api-fuzz`: all operations of the OpenAPI document, examples, requests, chains."""

import re
from datetime import timedelta
from pathlib import Path

from api.auth import issue_token
from api.rest.openapi import document
from tests.api import fuzz

SHORT = ["--phases", "examples,fuzzing,stateful", "--max-examples", "2", "--seed", "1", "--no-shrink"]


def test_the_service_does_what_its_document_says(tmp_path: Path) -> None:
    settings = fuzz.settings_in(str(tmp_path))
    token = issue_token(settings, "fuzzer", timedelta(hours=1), "admin")
    with fuzz.served(settings) as address:
        done = fuzz.run(address, token, [*SHORT, "--continue-on-failure"], str(tmp_path), capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    selected, total = map(int, re.findall(r"(\d+) selected / (\d+) total", done.stdout)[0])
    assert selected == total >= len(document()["paths"])
    assert f"Tested: {total}" in done.stdout
