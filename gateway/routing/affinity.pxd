# Types for Cython; affinity.py is the source and runs without it.

import cython

ctypedef const unsigned char* octets

cdef extern from "string.h":
    octets memchr(octets p, int byte, size_t size)
    int memcmp(octets a, octets b, size_t size)

cdef bint _INTERPRETED

@cython.locals(p=octets, wanted=octets, place=octets, length=Py_ssize_t, end=Py_ssize_t)
cpdef Py_ssize_t find(bytes header, bytes part, Py_ssize_t at)

cdef bint _is_between(int byte)

@cython.locals(
    p=octets, at=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, first=Py_ssize_t,
    last=Py_ssize_t, is_one=bint,
)
cpdef bytes strip_cookie(bytes header, bytes name)
