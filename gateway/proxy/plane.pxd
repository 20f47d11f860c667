# Types for Cython; plane.py is the source and runs without it.

import cython

from gateway.proxy.access_log cimport AccessLog
from gateway.proxy.heads cimport HeadLimits
from gateway.proxy.retry cimport RetryBudget
from gateway.proxy.target cimport Target
from gateway.proxy.upstream cimport UpstreamPool
from gateway.routing.pool cimport Pool
from gateway.routing.service cimport InstanceState, ServiceState
from gateway.routing.table cimport Table


cdef class Plane:
    cdef public object loop, time, settings, timeouts, limits, world, date, metrics, transports, waiting
    cdef public Table table
    cdef public AccessLog access_log
    cdef public RetryBudget budget
    cdef public HeadLimits head_limits
    cdef public long long body_bytes
    cdef public double client_idle_s, client_header_s, upstream_idle_s
    cdef public bint ready, closing, draining, served_by
    cdef public dict upstream_pools
    cdef object _random_bits
    cdef bytes _ids
    cdef Py_ssize_t _ids_left

    @cython.locals(at=Py_ssize_t)
    cpdef bytes new_request_id(self)

    @cython.locals(found=Target)
    cpdef Target target(self, Pool pool, ServiceState service)

    @cython.locals(found=UpstreamPool)
    cpdef UpstreamPool upstreams(self, InstanceState instance, port)
