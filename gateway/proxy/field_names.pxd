# Types for Cython; field_names.py is the source and runs without it.

import cython

from gateway.proxy.scan cimport octets

cdef int _UNKNOWN, _PLAIN, _LOOK_UP
cdef unsigned int _SEED, _MASK, _LAST_SLOT
cdef bytes _FOLDED


cdef class FieldNames:
    cdef tuple _names
    cdef bytes _kinds, _prefix, _slots
    cdef int _first

    @cython.locals(
        p=octets, folded=octets, slots=octets, own=octets, kinds=octets, begin=Py_ssize_t,
        place=Py_ssize_t, letter=cython.uint, slot=int, found=cython.uint, mask=cython.uint,
        name=bytes,
    )
    cpdef int kind(self, bytes data, Py_ssize_t at, Py_ssize_t end)

    @cython.locals(
        p=octets, folded=octets, prefix=octets, place=Py_ssize_t, size=Py_ssize_t,
        letter=cython.uint,
    )
    cdef bint _has_prefix(self, bytes data, Py_ssize_t at, Py_ssize_t end)
