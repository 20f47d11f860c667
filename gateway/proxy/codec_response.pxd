# Types for Cython; codec_response.py is the source and runs without it.

import cython

from gateway.proxy cimport fields as f
from gateway.proxy cimport lines, scan
from gateway.proxy.field_names cimport FieldNames
from gateway.proxy.fields cimport Options
from gateway.proxy.heads cimport HeadLimits, ResponseHead

cdef object _NONE, _LENGTH, _CHUNKED, _UNTIL_CLOSE
cdef dict RESPONSE_KINDS
cdef Options NO_OPTIONS
cdef FieldNames RESPONSE_NAMES
cdef list _ANSWERS
cdef int CONNECTION, CONTENT_LENGTH, DATE, PLAIN, TRAILER, TRANSFER_ENCODING, UNKNOWN, UPGRADE

@cython.locals(size=Py_ssize_t, end=Py_ssize_t, line_end=Py_ssize_t, head=ResponseHead)
cpdef ResponseHead parse_response(
    bytes data, bytes method, HeadLimits limits, Py_ssize_t searched=*
)

@cython.locals(status=int)
cdef _read_status_line(ResponseHead head, bytes data, Py_ssize_t end)

@cython.locals(
    kept=list, run=Py_ssize_t, begin=Py_ssize_t, stop=Py_ssize_t, colon=Py_ssize_t,
    name=bytes, value=bytes, kind=int, options=Options, connection=bytes, length=bytes, coding=bytes, upgrade=bytes,
)
cdef _read_response_fields(
    ResponseHead head, bytes data, Py_ssize_t at, Py_ssize_t end, bytes method
)

@cython.locals(size=cython.longlong, status=int)
cdef _frame_response(ResponseHead head, bytes length, bytes coding, bytes method)
cpdef client_framing(ResponseHead response, bytes method, int client_minor)

@cython.locals(framed=bytes, options=bytes)
cpdef bytes render_response(
    ResponseHead head, framing, int client_minor, bint close, bytes extra
)
cpdef bytes render_interim(ResponseHead head)
