"""The data plane: how a request goes through."""
