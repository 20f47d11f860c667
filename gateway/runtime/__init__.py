"""Processes: supervisor, workers, sockets, links, settings."""
