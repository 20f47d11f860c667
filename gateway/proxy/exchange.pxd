# Types for Cython; exchange.py is the source and runs without it.

import cython

from gateway.proxy cimport codec_response
from gateway.metrics.worker cimport ServiceSeries
from gateway.proxy cimport body as bodies
from gateway.proxy.access_log cimport AccessLog
from gateway.proxy.attempt cimport Attempt
from gateway.proxy.body cimport Body
from gateway.proxy.heads cimport RequestHead, ResponseHead
from gateway.proxy.routed cimport Routed
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.target cimport Target
from gateway.proxy.upstream cimport UpstreamConnection
from gateway.routing.decision cimport Decision

cdef object _ASKING, _ANSWERING, _TUNNEL, _DONE, _FRAMED_NONE, _FRAMED_UNTIL_CLOSE
cdef object _STICKY_OFF, _STICKY_HIT, _STICKY_MOVED, _REASON_NONE


cdef class Exchange(Routed):
    cdef Body _answer
    cdef ResponseHead _response
    cdef public long long bytes_in, bytes_out
    cdef public object reason
    cdef public int status
    cdef public double upstream_s

    cpdef prepare(self, ClientStream client, RequestHead head)

    @cython.locals(head=RequestHead, now=double)
    cpdef answer_begins(self, ResponseHead response, bytes rest)

    @cython.locals(attempt=Attempt, target=Target, decision=Decision, extra=bytes, moved=bint)
    cdef bytes _answered(self, ResponseHead response, framing, double now)

    @cython.locals(answer=Body, piece=bytes)
    cdef _relay(self, bytes data, bytes rendered, double now)
    cdef _write(self, bytes data)
    cdef _cut(self, reason)
    cpdef _reply(self, int status, detail, reason, bytes extra=*)

    @cython.locals(attempt=Attempt, response=ResponseHead)
    cdef _complete(self, bint clean, double now)

    @cython.locals(access_log=AccessLog)
    cdef _finish(self, double now)

    @cython.locals(target=Target, series=ServiceSeries)
    cdef _count(self, double now)


@cython.locals(exchange=Exchange)
cpdef serve_request(ClientStream client, RequestHead head)
