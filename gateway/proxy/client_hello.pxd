# Types for Cython; client_hello.py is the source and runs without it.

import cython


cdef class _Reader:
    cdef bytes _data
    cdef Py_ssize_t _at

    cdef bint has_more(self) except -1

    @cython.locals(begin=Py_ssize_t)
    cdef Py_ssize_t skip(self, Py_ssize_t size) except -1

    @cython.locals(at=Py_ssize_t, value=Py_ssize_t)
    cdef Py_ssize_t number(self, Py_ssize_t size) except -1

    @cython.locals(at=Py_ssize_t)
    cdef bytes vector(self, Py_ssize_t size)


@cython.locals(message=bytes, at=Py_ssize_t, size=Py_ssize_t, end=Py_ssize_t, length=Py_ssize_t)
cpdef read_hello(bytes data)


@cython.locals(version=int, kind=int, extensions=_Reader)
cdef _read_message(_Reader body)


@cython.locals(kind=int, name=bytes)
cdef _read_name(_Reader names)


@cython.locals(version=int, newest=int)
cdef int _read_versions(_Reader versions) except -1


cdef _read_protocols(_Reader names)
