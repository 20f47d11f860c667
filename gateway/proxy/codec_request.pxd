# Types for Cython; codec_request.py is the source and runs without it.

import cython

from gateway.proxy.heads cimport HeadLimits, RequestHead

@cython.locals(start=Py_ssize_t, end=Py_ssize_t, resume=Py_ssize_t, lines=list, line=bytes)
cpdef RequestHead parse_request(data, HeadLimits limits, Py_ssize_t searched=*)

@cython.locals(kept=list, line=bytes, name=bytes, colon=bytes, value=bytes, first=bint)
cdef _read_request_fields(RequestHead head, list lines)

cdef _read_target(RequestHead head, bytes host)
cdef _frame_request(RequestHead head, bytes length, bytes coding)
cdef Py_ssize_t _empty_lines(data) except -1
