"""What launchers have in common: what to start and end, when, and what went wrong.

Knows nothing of processes and containers.
"""
