# Types for Cython; access_line.py is the source and runs without it.
#
# What writes looks first whether `_SPACE` has room for the most that it may come to.

import cython

ctypedef const unsigned char* octets
ctypedef unsigned char* room

cdef bint INTERPRETED
cdef Py_ssize_t _SPACE_BYTES, _LONGEST_NUMBER, _NAME_BYTES, _PATH_BYTES
cdef int _COPIED, _ESCAPED, _UNKNOWN
cdef bytearray _SPACE
cdef bytes _KINDS
cdef bytes _TIME, _ENTRYPOINT, _CLIENT, _METHOD, _HOST, _PATH, _STATUS, _FLAGS, _ROUTE, _SERVICE
cdef bytes _INSTANCE, _DURATION, _UPSTREAM, _BYTES_IN, _BYTES_OUT, _REQUEST_ID, _STICKY, _RETRIES
cdef bytes _END, _NULL


cdef class Entry:
    cdef public object entrypoint, client, flags, route, service, instance, sticky
    cdef public bytes method, host, path, request_id
    cdef public int status, retries
    cdef public double duration_s, upstream_s
    cdef public long long bytes_in, bytes_out

@cython.locals(space=room, at=Py_ssize_t)
cpdef bytes quick(bytes second, int millis, Entry entry)
cpdef bytes defined(bytes second, int millis, Entry entry)

@cython.locals(p=octets, size=Py_ssize_t, i=Py_ssize_t)
cdef Py_ssize_t _plain(room space, Py_ssize_t at, bytes piece) except -1

@cython.locals(exact=str, raw=bytes)
cdef Py_ssize_t _name(room space, Py_ssize_t at, bytes key, text, bint null) except -1

@cython.locals(p=octets, kinds=octets, kind=int, size=Py_ssize_t, i=Py_ssize_t)
cdef Py_ssize_t _quoted(
    room space, Py_ssize_t at, bytes key, bytes raw, Py_ssize_t limit, bint null) except -1

@cython.locals(rest=cython.ulonglong, size=Py_ssize_t, end=Py_ssize_t)
cdef Py_ssize_t _number(room space, Py_ssize_t at, long long value) except -1

@cython.locals(scaled=double, part=double, whole=cython.uint)
cdef Py_ssize_t _milliseconds(room space, Py_ssize_t at, double seconds) except -1
