"""Pure routing decisions: which service and instance a request gets."""
