# Types for Cython; draw.py is the source and runs without it.

import cython

from gateway.routing.decision cimport Decision
from gateway.routing.schedule cimport Cursor


cdef class _Track:
    cdef readonly Cursor cursor
    cdef readonly Py_ssize_t length
    cdef readonly tuple weights


cdef class Outcomes:
    cdef readonly list full, kept, spilled


cdef class Draw:
    cdef readonly _Track _full, _reduced
    cdef list _lost
    cdef tuple _members, _weights
    cdef object _slot
    cdef bint _spill
    cdef readonly Outcomes new, moved

    @cython.locals(full=_Track, reduced=_Track, lost=list, turn=Py_ssize_t, table=list)
    cpdef Decision next(self, Outcomes outcomes)
    cpdef Decision spill(self, Outcomes outcomes)
