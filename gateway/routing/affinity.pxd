# Types for Cython; affinity.py is the source and runs without it.

import cython

ctypedef const unsigned char* octets

cdef bint _is_between(int byte)

@cython.locals(
    p=octets, at=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, first=Py_ssize_t,
    last=Py_ssize_t, is_one=bint,
)
cpdef bytes strip_cookie(bytes header, bytes name)
