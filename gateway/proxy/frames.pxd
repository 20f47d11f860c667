# Types for Cython; frames.py is the source and runs without it.

import cython

cdef object _MESSAGE
cdef long long _ENDLESS


cdef class Frames:
    cdef public bint closed
    cdef bint _in_message
    cdef long long _left
    cdef bytes _head

    cpdef bint is_at(self, border) except -1
    cpdef feed(self, bytes data)
    cpdef Py_ssize_t feed_until(self, border, bytes data) except -1

    @cython.locals(
        known=Py_ssize_t, end=Py_ssize_t, at="long long", size="long long", wide=int, first=int, second=int
    )
    cdef Py_ssize_t _walk(self, bytes data, border) except -1


@cython.locals(size="long long")
cdef long long _size_in(bytes data, Py_ssize_t at, Py_ssize_t end) except -1
