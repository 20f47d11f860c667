"""Why a request did not go through: Envoy's two-letter response flags.

Dashboards know these letters (Envoy, "response flags"); they appear in the
access log and in `gateway_upstream_errors_total{reason}`.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """One response flag; `NONE` when all went well."""

    NONE = ""
    NO_ROUTE = "NR"
    NO_HEALTHY_UPSTREAM = "UH"
    CONNECT_FAILURE = "UF"
    UPSTREAM_RESET = "UC"
    UPSTREAM_TIMEOUT = "UT"
    UPSTREAM_PROTOCOL_ERROR = "UPE"
    OVERFLOW = "UO"
    CLIENT_GONE = "DC"
    CLIENT_PROTOCOL_ERROR = "DPE"
    CLIENT_TIMEOUT = "SI"
