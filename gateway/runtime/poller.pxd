# Types for Cython; poller.py is the source and runs without it.

import cython

cdef extern from "sys/epoll.h":
    struct epoll_event:
        unsigned int events
        int fd "data.fd"

    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int size, int timeout)

cdef extern from "errno.h":
    int c_errno "errno"

cdef bint _INTERPRETED
cdef int _EVENTS, _MANY, _ROUNDS, _ADD, _REMOVE, _CHANGE
cdef unsigned int _IN, _OUT, _READ, _WRITE


cdef class Poller:
    cdef object _loop, _epoll
    cdef int _fd
    cdef epoll_event[256] _events
    cdef epoll_event[1] _wanted
    cdef list _readers, _writers

    @cython.locals(rounds=int)
    cpdef turn(self)

    @cython.locals(count=int, at=int)
    cdef int _look(self) except -1

    @cython.locals(call=tuple)
    cdef _tell(self, int fd, unsigned int flags)
    cdef bint _is_unknown(self, int fd) except -1

    @cython.locals(wanted=cython.uint, error=int)
    cdef _watch(self, int fd, bint is_new)
    cdef int _control(self, int operation, int fd, unsigned int wanted) except -1

    @cython.locals(args=tuple)
    cdef _call(self, tuple call)


cdef tuple _get(list calls, int fd)
cdef _put(list calls, int fd, call)
