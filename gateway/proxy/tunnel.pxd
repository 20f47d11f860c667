# Types for Cython; tunnel.py is the source and runs without it.

import cython

from gateway.proxy.frames cimport Frames
from gateway.proxy.plane cimport Plane
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.upstream cimport UpstreamConnection
from gateway.proxy.users cimport ConnectionUser
from gateway.routing.service cimport InstanceState

cdef object _NONE, _WAITING, _SAID


cdef class Tunnel(ConnectionUser):
    cdef public ClientStream client
    cdef public UpstreamConnection upstream
    cdef public InstanceState instance
    cdef public object exchange
    cdef public long long bytes_in, bytes_out
    cdef Frames _from_client, _from_instance
    cdef object _farewell, _border
    cdef double _cut_at
    cdef bint _client_ended, _instance_ended, _is_over

    @cython.locals(plane=Plane, wait_s=double)
    cdef _touch(self)
    cpdef leave(self, double deadline)
    cpdef cut(self)
    cdef bint _is_closing(self) except -1
    cdef _tell_client(self)
    cdef _tell_instance(self)
    cdef bint _goes_on(self) except -1
    cdef _end(self)
