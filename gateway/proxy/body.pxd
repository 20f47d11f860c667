# Types for Cython; body.py is the source and runs without it.

import cython

from gateway.proxy.chunked cimport ChunkedDecoder

cdef object _NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE


cdef class Body:
    cdef readonly object framing, out
    cdef public bint done
    cdef public bytes rest
    cdef public long long size
    cdef long long _left
    cdef ChunkedDecoder _decoder

    @cython.locals(left=cython.longlong, payload=bytes, encoded=bytes, decoder=ChunkedDecoder)
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)
