# Types for Cython; schedule.py is the source and runs without it.

import cython


cdef class Cursor:
    cdef public Py_ssize_t position

    cpdef Py_ssize_t next(self) except -1


cdef class Schedule:
    cdef readonly tuple weights
    cdef readonly Py_ssize_t length
    cdef readonly object turns
    cdef object _rest

    cpdef Cursor cursor(self, Py_ssize_t start=*)
    cpdef work_out(self, Py_ssize_t turn)


cdef class _StoredCursor(Cursor):
    cdef Schedule _schedule
    cdef object _turns

    @cython.locals(at=Py_ssize_t)
    cpdef Py_ssize_t next(self) except -1


cdef class _FreeCursor(Cursor):
    cdef Py_ssize_t _length
    cdef object _turns
    cdef tuple _weights

    cpdef Py_ssize_t next(self) except -1
