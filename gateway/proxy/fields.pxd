# Types for Cython; fields.py is the source and runs without it.

import cython

from gateway.proxy cimport scan


cpdef long long read_length(bytes value, int status) except -1

@cython.locals(size=Py_ssize_t)
cpdef tuple read_authority(bytes value)

cdef dict _KNOWN_OPTIONS
cpdef Options read_connection(bytes value, int status)


cdef class Options:
    cdef readonly bint close, keep_alive, upgrade
    cdef readonly frozenset listed
