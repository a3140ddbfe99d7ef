"""The steps, oldest first by number. A step that is merged is never changed."""
