# Types for Cython; codec_response.py is the source and runs without it.

import cython

from gateway.proxy.heads cimport HeadLimits, ResponseHead

@cython.locals(end=Py_ssize_t, resume=Py_ssize_t, lines=list)
cpdef ResponseHead parse_response(data, bytes method, HeadLimits limits, Py_ssize_t searched=*)

@cython.locals(kept=list, line=bytes, name=bytes, colon=bytes, value=bytes, first=bint)
cdef _read_response_fields(ResponseHead head, list lines, bytes method)

cdef _frame_response(ResponseHead head, bytes length, bytes coding, bytes method)
