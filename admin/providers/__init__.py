"""Providers say where instances are, and start them: a file or a folder each."""
