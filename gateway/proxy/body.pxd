# Types for Cython; body.py is the source and runs without it.

import cython

from gateway.proxy.chunked cimport ChunkedDecoder

cdef object _NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE


@cython.freelist(64)
cdef class Body:
    cdef readonly object framing, out
    cdef public bint done
    cdef public bytes rest
    cdef public long long size
    cdef long long _left
    cdef ChunkedDecoder _decoder

    cpdef prepare(self, framing, long long length, out, int fault, frozenset listed)

    @cython.locals(left=cython.longlong, payload=bytes, encoded=bytes, decoder=ChunkedDecoder)
    cpdef bytes feed(self, bytes data)
    cpdef bytes end(self)


@cython.locals(body=Body)
cpdef Body body_of(framing, long long length, out, int fault, frozenset listed)
