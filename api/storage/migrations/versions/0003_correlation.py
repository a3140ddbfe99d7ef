"""The correlation id of the request that a run came with, for the worker's log."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("correlation_id", sa.String(length=128), nullable=True))
