"""A heading of each run, so that listings need not read its request and scenarios; older rows go without."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("runs", sa.Column("heading", sa.Text(), nullable=True))
