# Types for Cython; fields.py is the source and runs without it.

import cython

from gateway.proxy cimport scan
from gateway.proxy.scan cimport octets

cpdef long long read_length(bytes value, int status) except -1

@cython.locals(size=Py_ssize_t)
cpdef tuple read_authority(bytes value)

cdef dict _KNOWN_OPTIONS
cpdef Options read_connection(bytes value, int status)


cdef unsigned int _OF_PREFIX, _FLAGS, _MASK

@cython.locals(
    p=octets, is_token=octets, flag=octets, begin=Py_ssize_t, letters=int,
    found=cython.uint, byte=cython.uint,
)
cpdef Py_ssize_t end_of_plain(bytes flags, bytes data, Py_ssize_t at, Py_ssize_t end)


cdef class Options:
    cdef readonly bint close, keep_alive, upgrade
    cdef readonly frozenset listed
