# Types for Cython; routed.py is the source and runs without it.

import cython

from gateway.proxy cimport codec_request
from gateway.proxy cimport upload as uploads
from gateway.proxy.attempt cimport Asker, Attempt
from gateway.proxy.heads cimport RequestHead
from gateway.proxy.plane cimport Plane
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.target cimport Target
from gateway.proxy.upload cimport Upload
from gateway.proxy.upstream cimport UpstreamConnection
from gateway.routing.decision cimport Decision
from gateway.routing.pool cimport Pool
from gateway.routing.service cimport InstanceState, ServiceState
from gateway.routing.table cimport Table

cdef object _ASKING, _ANSWERING, _DONE, _FRAMED_NONE, _STICKY_OFF, _VERDICT_OK, _REASON_NONE


cdef class Routed(Asker):
    cdef Attempt _attempt
    cdef int _attempts
    cdef bint _close
    cdef Decision _decision
    cdef list _tried
    cdef double _waiting_since
    cdef public object instance, sticky, stage
    cdef public Pool pool
    cdef public bytes request_id
    cdef public int retries
    cdef public double started
    cdef public Target target
    cdef public Upload upload

    @cython.locals(plane=Plane)
    cpdef prepare(self, ClientStream client, RequestHead head)

    @cython.locals(client=ClientStream, head=RequestHead, plane=Plane, data=bytes)
    cpdef begin(self)

    @cython.locals(
        client=ClientStream, head=RequestHead, plane=Plane, table=Table, pool=Pool,
        decision=Decision, service=ServiceState, target=Target, instance=InstanceState,
        internal=bint,
    )
    cdef _route(self)
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
    cdef list _note_failed(self, InstanceState instance)
    cdef InstanceState _decide_anew(self)
    cdef _drop_attempt(self)
    cdef _uncount(self)
    cdef _client_fault(self, int status, detail, reason)
    cdef _touch(self, double now)
    cdef _cut(self, reason)
    cpdef _reply(self, int status, detail, reason, bytes extra=*)
