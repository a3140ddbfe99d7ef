"""The GraphQL schema, derived from the declarations of the engine."""
