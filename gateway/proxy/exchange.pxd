# Types for Cython; exchange.py is the source and runs without it.

import cython

from gateway.proxy cimport codec_request, codec_response
from gateway.metrics.worker cimport ServiceSeries
from gateway.proxy cimport body as bodies
from gateway.proxy cimport upload as uploads
from gateway.proxy.attempt cimport Asker, Attempt
from gateway.proxy.body cimport Body
from gateway.proxy.heads cimport RequestHead, ResponseHead
from gateway.proxy.plane cimport Plane
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.target cimport Target
from gateway.proxy.upload cimport Upload
from gateway.proxy.upstream cimport UpstreamConnection
from gateway.routing.decision cimport Decision
from gateway.routing.pool cimport Pool
from gateway.routing.service cimport InstanceState, ServiceState
from gateway.routing.table cimport Table

cdef object _ASKING, _ANSWERING, _TUNNEL, _DONE, _FRAMED_NONE, _FRAMED_UNTIL_CLOSE
cdef object _STICKY_OFF, _STICKY_HIT, _STICKY_MOVED, _VERDICT_OK, _REASON_NONE


cdef class Exchange(Asker):
    cdef Body _answer
    cdef Attempt _attempt
    cdef int _attempts
    cdef bint _close
    cdef Decision _decision
    cdef ResponseHead _response
    cdef list _tried
    cdef double _waiting_since
    cdef public long long bytes_in, bytes_out
    cdef public object instance, reason, sticky, stage
    cdef public Pool pool
    cdef public bytes request_id
    cdef public int retries, status
    cdef public double started, upstream_s
    cdef public Target target
    cdef public Upload upload

    @cython.locals(plane=Plane)
    cpdef prepare(self, ClientStream client, RequestHead head)

    @cython.locals(
        client=ClientStream, head=RequestHead, plane=Plane, table=Table, pool=Pool,
        decision=Decision, service=ServiceState, target=Target, instance=InstanceState,
        internal=bint, data=bytes,
    )
    cpdef begin(self)
    cdef _try(self, Target target, InstanceState instance, bint fresh)
    cdef _wait(self, Target target, ticket)
    cdef _overflow(self, detail)

    @cython.locals(plane=Plane, attempt=Attempt)
    cdef _ask(self, Target target, InstanceState instance, bint fresh, double now)

    @cython.locals(
        client=ClientStream, target=Target, upload=Upload, rendered=bytes,
        connection=UpstreamConnection, is_kept=bint,
    )
    cpdef attempt_ready(self, Attempt attempt)

    cdef _await_answer(self, Attempt attempt, double now)
    cdef InstanceState _following(self, Target target, InstanceState failed, failure)
    cdef InstanceState _decide_anew(self)
    cdef _drop_attempt(self)
    cdef _uncount(self)
    cdef _client_fault(self, int status, detail, reason)

    @cython.locals(head=RequestHead, now=double)
    cpdef answer_begins(self, ResponseHead response, bytes rest)

    @cython.locals(attempt=Attempt, target=Target, decision=Decision, extra=bytes, moved=bint)
    cdef bytes _answered(self, ResponseHead response, framing, double now)

    @cython.locals(answer=Body, piece=bytes)
    cdef _relay(self, bytes data, bytes rendered, double now)
    cdef _write(self, bytes data)
    cdef _touch(self, double now)
    cdef _cut(self, reason)
    cpdef _reply(self, int status, detail, reason, bytes extra=*)

    @cython.locals(attempt=Attempt, response=ResponseHead)
    cdef _complete(self, bint clean, double now)

    cdef _finish(self, double now)

    @cython.locals(target=Target, series=ServiceSeries)
    cdef _count(self, double now)
    cdef list _note_failed(self, InstanceState instance)


@cython.locals(exchange=Exchange)
cpdef serve_request(ClientStream client, RequestHead head)
