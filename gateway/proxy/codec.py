"""The head codec: bytes of a message head in, values out, and back to bytes.

This is its public face. Pure: no I/O, no clock, no sockets; it never sees a body.
`codec_request` and `codec_response` hold the two directions, `heads` the values, `fields` what
is known about field names, `lines` what holds for every line, `scan` the loops over bytes.
"""

from __future__ import annotations

from gateway.proxy.codec_request import Hop, parse_request, render_request
from gateway.proxy.codec_response import (
    client_framing,
    parse_response,
    render_interim,
    render_response,
)
from gateway.proxy.heads import Framing, HeadLimits, Malformed, RequestHead, ResponseHead
from gateway.proxy.scan import find_head_end

__all__ = [
    "Framing",
    "HeadLimits",
    "Hop",
    "Malformed",
    "RequestHead",
    "ResponseHead",
    "client_framing",
    "find_head_end",
    "parse_request",
    "parse_response",
    "render_interim",
    "render_request",
    "render_response",
]
