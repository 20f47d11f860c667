# Types for Cython; scan.py is the source and runs without it.
#
# Nothing here looks at a length: callers keep 0 <= at <= end <= len(data).

import cython

ctypedef const unsigned char* octets

cdef bint _INTERPRETED
cdef bytes IS_TOKEN, _IS_TARGET, _IS_HOST

cdef extern from "string.h":
    octets memchr(octets p, int byte, size_t size)

@cython.locals(p=octets, place=octets, found=Py_ssize_t)
cpdef Py_ssize_t find_byte(bytes data, unsigned char byte, Py_ssize_t at, Py_ssize_t end)

@cython.locals(p=octets, at=Py_ssize_t, end=Py_ssize_t)
cpdef Py_ssize_t find_head_end(bytes data, Py_ssize_t start)

@cython.locals(p=octets, byte=cython.uchar, pairs=int, controls=int, at=Py_ssize_t, last=Py_ssize_t)
cpdef Py_ssize_t count_lines(bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(p=octets, table=octets)
cpdef Py_ssize_t token_end(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(p=octets, table=octets)
cpdef Py_ssize_t target_end(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(p=octets, table=octets)
cpdef Py_ssize_t host_end(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(p=octets, value=cython.longlong, digit=int)
cpdef long long number(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(p=octets)
cpdef bytes piece(bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(p=octets)
cpdef bytes trimmed(bytes data, Py_ssize_t at, Py_ssize_t end)
