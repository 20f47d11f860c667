# Types for Cython; doors.py is the source and runs without it.

import cython

from gateway.proxy.acceptor cimport Acceptor

cdef extern from "sys/resource.h":
    struct rlimit:
        unsigned long rlim_cur

    int RLIMIT_NOFILE
    int getrlimit(int resource, rlimit* limit)

cdef inline double soft_limit():
    cdef rlimit limit
    return limit.rlim_cur if getrlimit(RLIMIT_NOFILE, &limit) == 0 else 64

cdef bint _INTERPRETED
cdef double CLIENTS_PART


cdef class Doors:
    cdef object _loop, _serve, _most, _most_of_address
    cdef dict _acceptors, _most_at, _inside_at, _of_address
    cdef Py_ssize_t _inside
    cdef double _descriptors

    cpdef entered(self, entrypoint)

    @cython.locals(acceptor=Acceptor)
    cpdef left(self, entrypoint)

    cpdef bint take_place(self, key) except -1
    cpdef leave_place(self, key)

    @cython.locals(for_clients=double)
    cpdef bint has_room(self, entrypoint) except -1


cdef double _descriptors_allowed() except -1
