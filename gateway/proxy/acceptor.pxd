# Types for Cython; acceptor.py is the source and runs without it.


cdef class Acceptor:
    cdef object _loop, _serve, _has_room
    cdef dict _sockets
    cdef bint _paused

    cpdef resume(self)
    cdef _pause(self)
