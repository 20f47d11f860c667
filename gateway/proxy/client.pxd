# Types for Cython; client.py is the source and runs without it.

import cython

from gateway.proxy cimport codec_request, scan
from gateway.proxy.heads cimport RequestHead
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.users cimport ConnectionUser

cdef object _HANDSHAKE, _IDLE, _HEAD, _EXCHANGE, _LINGER, _CLOSED


cdef class ClientConnection(ClientStream):
    cdef bint _processing
    cdef Py_ssize_t _searched

    @cython.locals(exchange=ConnectionUser)
    cpdef data_received(self, bytes data)

    @cython.locals(exchange=ConnectionUser)
    cpdef exchange_done(self, bint keep_alive, double now)
    cpdef served(self, bint keep_alive, double now, bint complete=*)
    cpdef expire(self)
    cdef _process(self)
    cdef bint _may_begin(self)
    cpdef _go_on(self)

    @cython.locals(head=RequestHead)
    cdef bint _next_request(self) except -1
    cdef _refuse(self, error)
