# Types for Cython; table.py is the source and runs without it.

import cython

from gateway.routing.pool cimport Pool


cdef class _Site:
    cdef readonly dict pools
    cdef public Py_ssize_t longest

    @cython.locals(end=Py_ssize_t)
    cpdef Pool match(self, bytes path)


cdef class _Index:
    cdef readonly dict exact, wild
    cdef Py_ssize_t longest_wild

    @cython.locals(longest=Py_ssize_t, at=Py_ssize_t, site=_Site)
    cdef Pool match_wild(self, bytes host, bytes path)


cdef class Table:
    cdef _Index _open, _held
    cdef dict _exact
    cdef readonly bint has_held

    @cython.locals(site=_Site, pool=Pool)
    cpdef match(self, bytes host, bytes path, bint internal)
