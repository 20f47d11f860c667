"""Stores of desired state, one file each."""
