"""Containers of a Docker Engine: found by their labels, started and stopped for releases.

`engine.py` is the only file that speaks with the Engine; the others see its values.
"""
