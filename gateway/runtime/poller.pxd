# Types for Cython; poller.py is the source and runs without it.

import cython

cdef extern from "sys/epoll.h":
    struct epoll_event:
        unsigned int events
        int fd "data.fd"

    int epoll_wait(int epoll, epoll_event* events, int size, int timeout)

cdef bint _INTERPRETED
cdef int _EVENTS, _MANY, _ROUNDS
cdef unsigned int _READ, _WRITE


cdef class Poller:
    cdef object _loop, _epoll
    cdef int _fd
    cdef epoll_event[256] _events
    cdef list _readers, _writers

    @cython.locals(rounds=int)
    cpdef turn(self)

    @cython.locals(count=int, at=int)
    cdef int _look(self) except -1

    @cython.locals(call=tuple)
    cdef _tell(self, int fd, unsigned int flags)
    cdef _watch(self, fd)

    @cython.locals(args=tuple)
    cdef _call(self, tuple call)


cdef tuple _get(list calls, int fd)
cdef _put(list calls, int fd, call)
