# Types for Cython; access_log.py is the source and runs without it.

import cython

from gateway.proxy cimport access_line
from gateway.proxy.access_line cimport Entry


cdef class AccessLog:
    cdef public object target, problem
    cdef public bint enabled
    cdef public long long dropped
    cdef object _clock, _on_drop, _manner
    cdef double _second
    cdef bytes _second_text
    cdef readonly list _lines
    cdef readonly Py_ssize_t _size, _flush_at
    cdef readonly object _fd
    cdef bint _is_torn

    @cython.locals(now=double, millis=int, line=bytes)
    cpdef write(self, Entry entry)
    cdef _new_second(self, double now)
    cpdef flush(self)
