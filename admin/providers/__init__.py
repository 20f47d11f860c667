"""Providers say where instances are, one file each."""
