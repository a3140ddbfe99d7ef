"""Bounds of a query, held before it is validated: depth, aliases and fields with every fragment written out.

Each fragment is measured once, so that the work is as long as the query is, however often its fragments spread each
other; written out they double at each level, and a walk that follows them takes that long.
"""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    validate,
)
from strawberry.extensions import SchemaExtension

MAX_TOKENS, MAX_DEPTH, MAX_ALIASES, MAX_FIELDS = 1000, 10, 15, 1000
# What tools ask about a schema is deeper than any other question; it is ten levels of lists and non-nulls.
MAX_SCHEMA_DEPTH = 20
# Fields of one name and place are compared pair by pair.
MAX_REPEATS = 30
# Validation ends with these; each costs a search for names to suggest.
MAX_ERRORS = 10
# Of selections in one another, inline fragments and spreads included.
MAX_NESTING = 60


class Size(NamedTuple):
    """The size of selections: levels of fields, aliases, and fields."""

    depth: int = 0
    aliases: int = 0
    fields: int = 0


class Measure:
    """Measures the operations of one document. Raises GraphQLError for fragments in a circle or beyond MAX_NESTING."""

    def __init__(self, document: DocumentNode) -> None:
        found = [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]
        self.fragments = {node.name.value: node for node in found}
        self.sizes: dict[str, Size] = {}
        self.open: set[str] = set()

    def of(self, selections: SelectionSetNode | None, nesting: int = 0) -> Size:
        """The size of a selection set."""
        if nesting > MAX_NESTING:
            raise GraphQLError(f"The query is nested deeper than {MAX_NESTING}.")
        depth = aliases = fields = 0
        for node in selections.selections if selections is not None else ():
            size = self.of_one(node, nesting)
            depth, aliases, fields = max(depth, size.depth), aliases + size.aliases, fields + size.fields
        return Size(depth, aliases, fields)

    def of_one(self, node: SelectionNode, nesting: int) -> Size:
        """The size of one selection."""
        if isinstance(node, FragmentSpreadNode):
            return self.of_fragment(node.name.value, nesting)
        if isinstance(node, InlineFragmentNode):
            return self.of(node.selection_set, nesting + 1)
        if not isinstance(node, FieldNode):
            raise TypeError(f"a selection is no {node.kind}")
        inner = self.of(node.selection_set, nesting + 1)
        depth = inner.depth + 1
        if node.name.value.startswith("__"):
            if depth > MAX_SCHEMA_DEPTH:
                raise GraphQLError(f"The question about the schema is deeper than {MAX_SCHEMA_DEPTH}.")
            depth = 0
        return Size(depth, inner.aliases + (node.alias is not None), inner.fields + 1)

    def of_fragment(self, name: str, nesting: int) -> Size:
        """The size of a fragment; nothing for one that is not there, which validation says."""
        if name in self.open:
            raise GraphQLError(f"The fragment {name!r} spreads itself.")
        if name not in self.sizes and name in self.fragments:
            self.open.add(name)
            self.sizes[name] = self.of(self.fragments[name].selection_set, nesting + 1)
            self.open.remove(name)
        return self.sizes.get(name, Size())

    def repeats(self, selections: SelectionSetNode | None) -> int:
        """Fields whose name and place another has too; the fields written out must be within MAX_FIELDS."""
        places: Counter[tuple[str, ...]] = Counter()

        def walk(inner: SelectionSetNode | None, place: tuple[str, ...]) -> None:
            for node in inner.selections if inner is not None else ():
                if isinstance(node, FieldNode):
                    named = (*place, node.alias.value if node.alias else node.name.value)
                    places[named] += 1
                    walk(node.selection_set, named)
                elif isinstance(node, InlineFragmentNode):
                    walk(node.selection_set, place)
                elif isinstance(node, FragmentSpreadNode) and node.name.value in self.fragments:
                    walk(self.fragments[node.name.value].selection_set, place)

        walk(selections, ())
        return sum(places.values()) - len(places)


def check(document: DocumentNode) -> None:
    """Raises GraphQLError for a document beyond the bounds; those of all its operations count."""
    measure = Measure(document)
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    sizes = [measure.of(node.selection_set) for node in operations]
    for what, found, most in (
        ("levels of fields (depth)", max((size.depth for size in sizes), default=0), MAX_DEPTH),
        ("aliases", sum(size.aliases for size in sizes), MAX_ALIASES),
        ("fields, its fragments written out", sum(size.fields for size in sizes), MAX_FIELDS),
    ):
        if found > most:
            told = f"{found:,}" if found < 10**9 else "billions of"
            raise GraphQLError(f"The query has {told} {what}; at most {most:,} are answered.")
    repeats = sum(measure.repeats(node.selection_set) for node in operations)
    if repeats > MAX_REPEATS:
        raise GraphQLError(f"The query repeats {repeats:,} fields; at most {MAX_REPEATS} are read.")
    # Validation would refuse them too, but compare what is in them first.
    if operations and (unused := measure.fragments.keys() - measure.sizes.keys()):
        raise GraphQLError(f"Fragment '{min(unused)}' is never used.")


class Bounded(SchemaExtension):
    """Holds a document to the bounds once it is parsed."""

    def on_parse(self) -> Iterator[None]:
        yield
        if self.execution_context.graphql_document is not None:
            check(self.execution_context.graphql_document)


@lru_cache(maxsize=256)
def validated(schema: Any, document: DocumentNode, rules: tuple[Any, ...]) -> list[GraphQLError]:
    """The faults of a document, kept for the queries that are sent again and again."""
    return validate(schema, document, rules, max_errors=MAX_ERRORS)


class Validated(SchemaExtension):
    """Validates a document, to its first few errors."""

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        document = context.graphql_document
        if document is not None:
            rules = context.validation_rules
            context.pre_execution_errors = validated(context.schema._schema, document, rules)
        yield
