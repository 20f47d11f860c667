# Types for Cython; decision.py is the source and runs without it.

from gateway.routing.service cimport InstanceState, ServiceState


cdef class Decision:
    cdef readonly object verdict, sticky
    cdef readonly ServiceState service
    cdef readonly InstanceState pinned
    cdef readonly bint spilled, renew
