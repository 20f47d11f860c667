# Types for Cython; poller.py is the source and runs without it.

import cython

cdef int _EVENTS_A_TURN, _READ, _WRITE


cdef class Poller:
    cdef object _loop, _epoll
    cdef dict _readers, _writers

    @cython.locals(readers=dict, writers=dict, flags=int, call=tuple)
    cpdef turn(self)
    cdef _watch(self, fd)

    @cython.locals(args=tuple)
    cdef _call(self, tuple call)
