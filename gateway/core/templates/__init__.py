"""Templates (compose files) read into services: plain values in, `Template` out.

A template is either the compose specification's form (`services:`) or that of the
first compose files (services at the top level). Every key of it is understood,
accepted with a warning because it has no effect here, or refused by name with the
reason: `keys.py` and `labels.py` hold the tables, and `docs/templates.md` is tested
against them.

Knows no YAML, no configuration and no provider: text becomes plain values before,
and whether an image can be started is somebody else's question (`admin/templates.py`).

Invariants: nothing but `Refused` is ever raised, with all problems at once; equal
meanings (order of labels, list or map, prefix, quotes) become equal values.
"""

from __future__ import annotations

from .extension import ENDPOINTS_MAX, IN_FLIGHT_MAX
from .parse import Outcome, Parsed, parse, read
from .problems import Place, Problem, dotted, refusal
from .service import SCALE_MAX, Read

__all__ = [
    "ENDPOINTS_MAX",
    "IN_FLIGHT_MAX",
    "SCALE_MAX",
    "Outcome",
    "Parsed",
    "Place",
    "Problem",
    "Read",
    "dotted",
    "parse",
    "read",
    "refusal",
]
