"""The cache of parsed queries, with its hits counted."""

from collections.abc import Iterator
from typing import Any

from strawberry.extensions import ParserCache

from api import metrics


class CountedParserCache(ParserCache):
    """Parses each query text once; counts how often that spares a parse."""

    def on_parse(self) -> Iterator[None]:
        """Parses, or takes what was parsed before."""
        cached: Any = self.cached_parse_document
        hits = cached.cache_info().hits
        for step in super().on_parse():
            metrics.count_cache("graphql_queries", cached.cache_info().hits > hits)
            yield step
