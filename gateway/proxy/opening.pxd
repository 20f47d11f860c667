# Types for Cython; opening.py is the source and runs without it.

import cython


cdef class _NoTimer:
    pass


cdef class Untimed:
    cdef readonly object add_reader, add_writer, call_exception_handler, call_soon, create_future
    cdef readonly object get_debug, remove_reader, remove_writer


cdef class Opening:
    cdef object _protocol, _sock, _transport

    cpdef begin(self, loop, context, buffer_bytes)
    cpdef set_exception(self, error)


cdef class Direct:
    cdef Untimed _loop
    cdef object _buffer_bytes

    @cython.locals(opening=Opening)
    cpdef accept(self, sock, protocol, context)
