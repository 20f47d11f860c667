# Types for Cython; pool.py is the source and runs without it.

import cython

from gateway.routing cimport affinity
from gateway.routing.decision cimport Decision
from gateway.routing.draw cimport Draw
from gateway.routing.service cimport InstanceState, ServiceState

ctypedef const unsigned char* octets


cdef class Pool:
    cdef readonly object route
    cdef readonly bint internal
    cdef readonly tuple services
    cdef readonly dict series
    cdef public bint stale
    cdef readonly bytes cookie_name
    cdef bytes _cookie_key
    cdef readonly Draw _draw
    cdef readonly tuple _former
    cdef dict _ports, _selected, _homes, _pins, _cookies
    cdef list _pinned_sets
    cdef object _keyring

    @cython.locals(draw=Draw, at=Py_ssize_t, known=Decision, selection=Decision)
    cpdef Decision decide(self, bytes cookies, bytes selector)

    cpdef bytes set_cookie(self, ServiceState service, InstanceState instance, bint secure)

    @cython.locals(p=octets, begin=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, hit=Decision)
    cdef Decision _recall(self, bytes cookies, bytes name, Py_ssize_t at)

    cdef Decision _select(self, dict selected, bytes cookies, bytes selector)
    cdef Decision _redraw(self, why)
    cdef _compile(self)
