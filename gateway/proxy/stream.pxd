# Types for Cython; stream.py is the source and runs without it.

import cython

from gateway.proxy cimport codec_request
from gateway.proxy.codec_request cimport Hop
from gateway.proxy.entrypoint cimport Entrypoint
from gateway.proxy.plane cimport Plane
from gateway.proxy.users cimport ConnectionUser

cdef object _IDLE, _LINGER


cdef class ClientStream:
    cdef public Plane plane
    cdef public Entrypoint entrypoint
    cdef public object place, tls, refusal, transport, opening, phase, peer_text
    cdef public bytes peer, proto, pending
    cdef public bint trusted, writable
    cdef bint _reading
    cdef object _send
    cdef long long _untaken
    cdef public double deadline
    cdef public ConnectionUser exchange
    cdef Hop _hop


    @cython.locals(hop=Hop)
    cpdef Hop hop(self)
    cpdef write(self, bytes data)
    cpdef set_reading(self, bint wanted)
    cpdef hold(self, bytes data)
    cpdef exchange_done(self, bint keep_alive, double now)
    cpdef end(self, bint linger)
    cpdef cut(self, bint reset)
    cpdef abort(self)
