# cython: language_level=3, annotation_typing=False
"""A service's place on a route, with everything the data plane needs of it at hand.

Made once for each pool and service, kept in `Pool.series`, shared by requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.metrics.worker import ServiceSeries
    from gateway.routing.pool import Pool
    from gateway.routing.service import InstanceState, ServiceState


class Target:
    """`fields` are the gateway's own lines in each answer; `port` is the container port asked for."""

    __slots__ = (
        "connect_s",
        "fields",
        "idle_stream_s",
        "pool",
        "port",
        "response_header_s",
        "series",
        "service",
    )

    def __init__(
        self, pool: Pool, service: ServiceState, series: ServiceSeries, fields: bytes
    ) -> None:
        self.pool = pool
        self.service = service
        self.series = series
        self.fields = fields
        self.port = pool.port_of(service)
        timeouts = pool.route.timeouts
        self.connect_s = timeouts.connect_s
        self.response_header_s = timeouts.response_header_s
        self.idle_stream_s = timeouts.idle_stream_s

    def port_of(self, instance: InstanceState) -> int:
        """Where to connect to."""
        return instance.port if self.port is None else instance.port_for(self.port)
