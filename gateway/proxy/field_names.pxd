# Types for Cython; field_names.py is the source and runs without it.

import cython

from gateway.proxy cimport scan
from gateway.proxy.scan cimport octets

cdef int _UNKNOWN, _PLAIN, _LOOK_UP
cdef unsigned int _MASK, _SLOTS


cdef class FieldNames:
    cdef tuple _names
    cdef bytes _kinds, _slots
    cdef unsigned int _of_prefix
    cdef int _prefix_length

    @cython.locals(
        p=octets, is_token=octets, slots=octets, own=octets, kinds=octets, begin=Py_ssize_t,
        place=Py_ssize_t, letters=int, prefix=int, slot=int, found=cython.uint, byte=cython.uint,
        name=bytes,
    )
    cpdef int kind(self, bytes data, Py_ssize_t at, Py_ssize_t end)
