# Types for Cython; admission.py is the source and runs without it.

import cython

from gateway.proxy.client cimport ClientConnection
from gateway.proxy.plane cimport Plane


cpdef admit(Plane plane, transports, sock, ClientConnection client)
cdef _let_in(Plane plane, transports, sock, ClientConnection client)


cdef class _Announced:
    cdef Plane _plane
    cdef object _transports, _sock
    cdef ClientConnection _client


cdef class _Handshake:
    cdef Plane _plane
    cdef object _transports, _sock, _tls
    cdef ClientConnection _client

    @cython.locals(client=ClientConnection)
    cdef begin(self)

    cdef _refuse(self, bytes alert)
