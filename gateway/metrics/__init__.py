"""The metrics catalogue and counters that outlive a worker."""
