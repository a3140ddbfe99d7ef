"""REST controllers, one file a resource; each declares its handlers and, beside them, their OpenAPI paths."""
