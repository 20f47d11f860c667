"""Pure values and decisions: what the gateway is about."""
