"""What the service keeps: rows in PostgreSQL or SQLite, bytes in a folder or S3."""
