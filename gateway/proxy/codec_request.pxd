# Types for Cython; codec_request.py is the source and runs without it.

import cython

from gateway.proxy cimport fields as f
from gateway.proxy cimport lines, scan
from gateway.proxy.field_names cimport FieldNames
from gateway.proxy.fields cimport Options
from gateway.proxy.heads cimport HeadLimits, RequestHead
from gateway.routing cimport affinity

cdef object _NONE, _LENGTH, _CHUNKED
cdef dict REQUEST_KINDS
cdef Options NO_OPTIONS
cdef FieldNames REQUEST_NAMES
cdef int CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDING, HOST, MAX_FORWARDS
cdef int PLAIN, REQUEST_ID_FIELD, SELECTOR, TE, TRAILER, TRANSFER_ENCODING, UNKNOWN, UPGRADE
cdef bytes _VIA, _VIA_10


cdef class Hop:
    cdef readonly bytes peer, proto, port
    cdef readonly bint trusted
    cdef bytes _before_host, _after_host


@cython.locals(start=Py_ssize_t, size=Py_ssize_t, end=Py_ssize_t, line_end=Py_ssize_t, head=RequestHead)
cpdef RequestHead parse_request(bytes data, HeadLimits limits, Py_ssize_t searched=*)

@cython.locals(method_end=Py_ssize_t, target_end=Py_ssize_t)
cdef _read_request_line(RequestHead head, bytes data, Py_ssize_t start, Py_ssize_t end)

@cython.locals(
    kept=list, run=Py_ssize_t, begin=Py_ssize_t, stop=Py_ssize_t, colon=Py_ssize_t,
    name=bytes, value=bytes, kind=int, options=Options,
)
cdef _read_request_fields(RequestHead head, bytes data, Py_ssize_t at, Py_ssize_t end)

@cython.locals(target=bytes, method=bytes, query=Py_ssize_t)
cdef _read_target(RequestHead head, bytes host)
cdef _frame_request(RequestHead head, bytes length, bytes coding)

@cython.locals(
    cookies=bytes, authority=bytes, own_id=bytes, forwarding=bytes, before=bytes, host=bytes,
    after=bytes,
)
cpdef bytes render_request(RequestHead head, Hop hop, bytes request_id, bytes strip_cookie)
cdef Py_ssize_t _empty_lines(bytes data) except -1
cdef bint _has_plain_rest(RequestHead head)

@cython.locals(out=list)
cdef bytes _rest(RequestHead head)
