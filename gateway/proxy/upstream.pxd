# Types for Cython; upstream.py is the source and runs without it.

import cython

from gateway.proxy.users cimport ConnectionUser

cdef object _CONNECTING, _BUSY, _IDLE, _QUARANTINE, _CLOSED


cdef class UpstreamConnection:
    cdef public UpstreamPool pool
    cdef public ConnectionUser user
    cdef public object transport, use, opening
    cdef public bint reused
    cdef bint _reading
    cdef object _send
    cdef public double idle_since

    cpdef write(self, bytes data)
    cpdef write_eof(self)
    cpdef set_reading(self, bint wanted)
    cpdef release(self, double now, bint quarantine)
    cpdef abort(self)
    cpdef close(self)

    @cython.locals(user=ConnectionUser)
    cpdef data_received(self, bytes data)


cdef class UpstreamPool:
    cdef public object transports, host, port, tls
    cdef public double close_s
    cdef public list idle
    cdef public set opening
    cdef public Py_ssize_t open
    cdef public bint closed

    @cython.locals(connection=UpstreamConnection)
    cpdef UpstreamConnection claim(self, ConnectionUser user, double not_before)
    cpdef put(self, UpstreamConnection connection)
    cpdef forget(self, UpstreamConnection connection)
