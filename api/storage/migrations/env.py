"""What Alembic runs: the steps on the connection that Database.migrate holds, in its transaction."""

from alembic import context

from api.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
