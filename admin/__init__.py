"""The control process: how a change goes."""
