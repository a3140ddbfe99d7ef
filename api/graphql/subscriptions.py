"""Progress of runs as a subscription; api/graphql/sockets.py and handlers.py carry it."""

from collections.abc import AsyncGenerator

import strawberry

from api.graphql.refusals import graphql_error
from api.graphql.stored import Context, Id, Run, owner_of
from api.roles import asks
from api.stored import run_view, stored_refusal


@strawberry.type(description="What goes on.")
class Subscription:
    @strawberry.subscription(
        description="A run now and after each change, until it has ended.", permission_classes=[asks("reader")]
    )
    async def run_progress(self, info: Context, id: Id) -> AsyncGenerator[Run, None]:
        try:
            async for run in info.context["jobs"].progress(owner_of(info), id):
                yield run_view(run)
        except Exception as error:
            raise graphql_error(stored_refusal(error, "graphql")) from error
