"""Hostile GraphQL operations, each of which the service has to refuse, and to refuse quickly."""

from typing import Any

REQUEST = "projection(request: {tape: {}})"
TYPES = "{ __schema { types { " + "fields { type { " * 6 + "name" + " } }" * 6 + " } } }"


def nested(selection: str, depth: int, inner: str = "__typename") -> str:
    return "{" + f" {selection} {{" * depth + inner + "}" * depth + "}"


def doubling(levels: int) -> str:
    """Fragments that each spread the next one twice: 2 to the power of `levels` fields once written out."""
    parts = [f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(levels)]
    return "{ ...F0 } " + " ".join(parts) + f" fragment F{levels} on Query {{ __typename }}"


def overlapping(count: int) -> str:
    """The same field over and over with selections that all have to be merged with one another."""
    return "{" + f" {REQUEST} {{ columns {{ loss }} }}" * count + "}"


def cross(count: int) -> str:
    """Fragments that all spread all others, so that every pair is compared."""
    spreads = " ".join(f"...F{i}" for i in range(count))
    return "{ ...F0 } " + " ".join(f"fragment F{i} on Query {{ __typename {spreads} }}" for i in range(count))


QUERIES: dict[str, str] = {
    "20,000 aliases": "{" + " ".join(f"a{i}: __typename" for i in range(20_000)) + "}",
    "16 aliases": "{" + " ".join(f"a{i}: __typename" for i in range(16)) + "}",
    "aliases in fragments": "{"
    + "...F " * 20
    + "} fragment F on Query {"
    + " ".join(f"a{i}: __typename" for i in range(300))
    + "}",
    "fields without end": "{" + " __typename" * 30_000 + "}",
    "nested 10,000 deep": nested("a", 10_000),
    "nested 400 deep": nested("a", 400),
    "nested 300 deep in a list": "{ projection(request: " + "[" * 600 + "]" * 600 + ") { summary { wal_years } } }",
    "an object nested in itself": "{ projection(request: "
    + "{a:" * 240
    + "1"
    + "}" * 240
    + ") { summary { wal_years } } }",
    "inline fragments 300 deep": "{" + "... on Query {" * 240 + "__typename" + "}" * 240 + "}",
    "a fragment of itself": "{ ...A } fragment A on Query { ...A }",
    "fragments in a circle": "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "a circle of 150 fragments": "{ ...F0 } "
    + " ".join(f"fragment F{i} on Query {{ ...F{(i + 1) % 150} }}" for i in range(150)),
    "fragments that double 90 times": doubling(90),
    "fragments that double 25 times": doubling(25),
    "fragments that all spread all": cross(28),
    "fragments nobody uses": "{ __typename } "
    + " ".join(f"fragment F{i} on Query {{ __typename }}" for i in range(150)),
    "directives by the thousand": "{ __typename" + " @include(if: true)" * 5000 + "}",
    "directives to the limit": "{ __typename" + " @skip(if: false)" * 140 + "}",
    "unknown directives": "{ __typename" + " @a" * 450 + "}",
    "overlapping fields": overlapping(50),
    "one field 990 times": "{" + " __typename" * 990 + "}",
    "one field in many places": "{" + (" __schema {" + " types { name } " * 12 + "}") * 15 + "}",
    "overlapping fields with other arguments": "{"
    + " ".join(f'__type(name: "T{i}") {{ name }}' for i in range(90))
    + "}",
    "unknown fields": "{" + " ".join(f"projectio{i}" for i in range(450)) + "}",
    "unknown arguments": "{ projection("
    + " ".join(f"reques{i}: 1" for i in range(300))
    + ") { summary { wal_years } } }",
    "unknown input fields": "{ projection(request: {"
    + " ".join(f"tap{i}: 1" for i in range(300))
    + "}) { summary { wal_years } } }",
    "unknown variables": "{ projection(request: ["
    + " ".join(f"$v{i}" for i in range(450))
    + "]) { summary { wal_years } } }",
    "variables by the hundred": "query (" + " ".join(f"$v{i}: Int" for i in range(240)) + ") { __typename }",
    "operations by the hundred": " ".join(f"query Q{i} {{ __typename }}" for i in range(190)),
    "an introspection bomb": TYPES,
    "a text of a megabyte": '{ __type(name: "' + "x" * 1_000_000 + '") { name } }',
    "a block text without end": '{ __type(name: """' + "x" * 49_000,
    "a number of 40,000 digits": "{ projection(request: " + "9" * 40_000 + ") { summary { wal_years } } }",
    "comments without end": "#" * 60_000 + "\n{ __typename }",
    "commas without end": "," * 49_000,
    "escapes without end": '{ __type(name: "' + "\\u0041" * 8_000,
    "nothing but openings": "{" * 900,
    "nulls": "\x00" * 1000,
}
ASKING = "query ($r: ProjectionRequestInput!) { projection(request: $r) { summary { wal_years } } }"
BODIES: dict[str, Any] = {
    "a batch of operations": [{"query": "{ __typename }"}] * 1000,
    "a batch of one": [{"query": "{ __typename }"}],
    "no object": "query",
    "a query that is a list": {"query": ["{ __typename }"]},
    "a query that is null": {"query": None},
    "a variable nested deeply": '{"query": "{ __typename }", "variables": {"a": ' + "[" * 200_000,
    "a variable of many digits": f'{{"query": "{ASKING}", "variables": {{"r": {{"periods": {"9" * 100_000}}}}}}}',
    "a variable that is no number": f'{{"query": "{ASKING}", "variables": {{"r": {{"periods": NaN}}}}}}',
    "variables without a query": {"variables": {}},
}
