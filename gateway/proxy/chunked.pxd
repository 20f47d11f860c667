# Types for Cython; chunked.py is the source and runs without it.

import cython

from gateway.proxy.heads cimport HeadLimits


cdef class ChunkedDecoder:
    cdef public int status
    cdef public bint done
    cdef public bytes rest, trailers
    cdef HeadLimits _limits
    cdef int _state
    cdef long long _left
    cdef bytes _part
    cdef frozenset _listed
    cdef Py_ssize_t _extensions, _trailer_bytes, _trailer_fields

    @cython.locals(out=list, at=Py_ssize_t)
    cpdef bytes feed(self, bytes data)

    @cython.locals(at=Py_ssize_t, end=Py_ssize_t, stop=Py_ssize_t, payload=Py_ssize_t)
    cdef Py_ssize_t _chunks(self, bytes data, list out) except -1

    cdef _part_of_size(self, bytes data, Py_ssize_t at)

    @cython.locals(kept=list, stop=Py_ssize_t, used=Py_ssize_t, line=bytes)
    cdef Py_ssize_t _trailers(self, bytes data, Py_ssize_t at) except -1
