# Types for Cython; target.py is the source and runs without it.

from gateway.metrics.worker cimport ServiceSeries
from gateway.routing.pool cimport Pool
from gateway.routing.service cimport InstanceState, ServiceState


cdef class Target:
    cdef readonly Pool pool
    cdef readonly ServiceState service
    cdef readonly ServiceSeries series
    cdef readonly bytes fields
    cdef readonly object port
    cdef readonly double connect_s, response_header_s, idle_stream_s

    cpdef port_of(self, InstanceState instance)
