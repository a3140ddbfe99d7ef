"""The cashflow service: REST and GraphQL on the engine."""
