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

    __slots__ = ("fields", "pool", "port", "series", "service")

    def __init__(
        self, pool: Pool, service: ServiceState, series: ServiceSeries, fields: bytes
    ) -> None:
        self.pool = pool
        self.service = service
        self.series = series
        self.fields = fields
        self.port = pool.port_of(service)

    def port_of(self, instance: InstanceState) -> int:
        """Where to connect to."""
        return instance.port_for(self.port)
