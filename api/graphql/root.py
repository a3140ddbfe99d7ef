"""The schema as a whole: projections, stored things, changes to them, and progress; and what every query is held to."""

import logging
from collections.abc import Iterator

import strawberry
from graphql import GraphQLError, NoSchemaIntrospectionCustomRule, OperationDefinitionNode
from strawberry.extensions import (
    AddValidationRules,
    MaxTokensLimiter,
    SchemaExtension,
)
from strawberry.types import ExecutionContext

from api import metrics
from api.graphql.bounds import MAX_TOKENS, Bounded, Validated
from api.graphql.caches import CountedParserCache
from api.graphql.choices import tell_choices
from api.graphql.inputs import config
from api.graphql.mutations import Mutation
from api.graphql.projections import ProjectionQuery
from api.graphql.stored import StoredQuery
from api.graphql.subscriptions import Subscription

logger = logging.getLogger("api.graphql")


@strawberry.type(description="Questions to the engine and to what is stored.")
class Query(ProjectionQuery, StoredQuery):
    pass


class CashflowSchema(strawberry.Schema):
    """The schema, which logs only what nobody raised on purpose."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        for error in errors:
            if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
                metrics.count_error("graphql")
                logger.error("unhandled error", extra={"part": "graphql"}, exc_info=error.original_error)


class NamedOperation(SchemaExtension):
    """Refuses a document that leaves open which of its operations is to run, by GetOperation() of the specification."""

    def on_parse(self) -> Iterator[None]:
        yield
        # The name as it was sent: the library's own puts the first operation in place of none.
        document, context = self.execution_context.graphql_document, self.execution_context.context
        if document is None or "operation_name" not in context:
            return
        wanted = context["operation_name"]
        found = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        names = [node.name.value for node in found if node.name]
        if not found:
            raise GraphQLError("The query has no operation; expected one, such as `query { projection ... }`.")
        if wanted is None and len(found) > 1:
            raise GraphQLError("The query has several operations; expected operationName to say which is to run.")
        if wanted is not None and wanted not in names:
            allowed = f"one of {', '.join(names)}" if names else "none, for the query names no operation"
            raise GraphQLError(f"operationName is {wanted!r}; expected {allowed}.")


class Discretion(AddValidationRules):
    """Refuses questions about the schema where the settings do."""

    def __init__(self) -> None:
        super().__init__([])

    def on_operation(self) -> Iterator[None]:
        if not self.execution_context.context["settings"].introspection:
            self.validation_rules = [NoSchemaIntrospectionCustomRule]
        yield from super().on_operation()


# A front end sends the same few queries: parsed and validated once each. Extensions carry the state of one request,
# so each request has its own; the caches behind them are shared.
schema = CashflowSchema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=config(),
    extensions=[
        NamedOperation,
        lambda: MaxTokensLimiter(max_token_count=MAX_TOKENS),
        Bounded,
        Discretion,
        lambda: CountedParserCache(maxsize=256),
        Validated,
    ],
)
tell_choices(schema._schema)
