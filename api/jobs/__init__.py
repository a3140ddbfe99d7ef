"""Runs on workers: taken by lease, committed under a fence, never lost. Start with service.Jobs."""
