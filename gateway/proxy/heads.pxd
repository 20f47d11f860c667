# Types for Cython; heads.py is the source and runs without it.

import cython

cdef class HeadLimits:
    cdef public Py_ssize_t bytes
    cdef public Py_ssize_t fields


@cython.freelist(64)
@cython.no_gc
cdef class RequestHead:
    cdef public bytes method, target, path, host, authority
    cdef public bytes upgrade, cookies, selector, request_id, trailer
    cdef public int minor
    cdef public object framing
    cdef public long long length
    cdef public bint is_absolute, is_https, keep_alive, expect_continue, trailers_ok
    cdef public object max_forwards
    cdef public Py_ssize_t size
    cdef public bytes fields
    cdef public frozenset listed
    cdef public list forwarding


@cython.freelist(64)
@cython.no_gc
cdef class ResponseHead:
    cdef public int status, minor
    cdef public bytes reason, trailer, upgrade_to
    cdef public object framing
    cdef public long long length, announced
    cdef public bint keep_alive, upgrade, has_date
    cdef public Py_ssize_t size
    cdef public bytes fields
    cdef public frozenset listed
