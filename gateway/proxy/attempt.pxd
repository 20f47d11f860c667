# Types for Cython; attempt.py is the source and runs without it.

import cython

from gateway.proxy cimport codec_response, scan
from gateway.proxy.heads cimport RequestHead, ResponseHead
from gateway.proxy.plane cimport Plane
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.upstream cimport UpstreamConnection, UpstreamPool
from gateway.proxy.users cimport ConnectionUser
from gateway.routing.service cimport InstanceState

cdef object _CONNECTING, _WAITING, _ANSWERING, _ENDED


cdef class Asker(ConnectionUser):
    cdef public ClientStream client
    cdef public RequestHead head
    cdef public Plane plane

    cpdef connected(self, Attempt attempt)
    cpdef attempt_ready(self, Attempt attempt)
    cpdef attempt_failed(self, Attempt attempt, failure, detail, reason, int status=*)
    cpdef attempt_writable(self, bint writable)
    cpdef answer_begins(self, ResponseHead response, bytes rest)
    cpdef answer_data(self, bytes data)
    cpdef answer_ends(self, bint in_order)
    cpdef tunnel_begins(self, Attempt attempt, ResponseHead response, bytes rest)


cdef class Attempt(ConnectionUser):
    cdef public Asker exchange
    cdef public InstanceState instance
    cdef public double started
    cdef public object stage
    cdef public UpstreamConnection connection
    cdef public bint writable
    cdef bytes _buffer
    cdef Py_ssize_t _searched
    cdef int _interims
    cdef bint _is_last

    cpdef prepare(self, Asker exchange, InstanceState instance, double now)
    cpdef begin(self, UpstreamPool pool, double not_before)

    @cython.locals(connection=UpstreamConnection)
    cpdef write(self, bytes data)

    @cython.locals(connection=UpstreamConnection)
    cpdef release(self, double now, bint clean, bint quarantine)

    @cython.locals(connection=UpstreamConnection)
    cpdef drop(self)
    cpdef hand_over(self)
    cdef UpstreamConnection _end(self)
    cdef _ended_early(self)

    @cython.locals(exchange=Asker, head=RequestHead, response=ResponseHead, rest=bytes)
    cdef _read_head(self, bytes data)
    cdef _pass_on(self, ResponseHead interim)
    cdef _bad(self, detail)
