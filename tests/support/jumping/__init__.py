"""A wall clock that tests may set, see `sitecustomize`."""
