# Types for Cython; worker.py is the source and runs without it.

import cython

cdef Py_ssize_t _DURATION, _DURATION_BUCKETS, _REQUEST_BYTES, _RESPONSE_BYTES
cdef Py_ssize_t _CONNECT, _CONNECT_BUCKETS, _RETRIES, _SPILLED
cdef double _NS
cdef Py_ssize_t _BOUNDS
cdef double[::1] _DURATION_BOUNDS
cdef dict _STICKY


cdef class Gauge:
    cdef long long[::1] _cells
    cdef Py_ssize_t _at

    cpdef add(self, long long amount)
    cpdef detach(self)


cdef class _ServiceCells:
    cdef public object _owner, name
    cdef dict _reasons
    cdef long long[::1] cells

    cpdef upstream_error(self, reason)
    cpdef detach(self)


cdef class ServiceSeries:
    cdef object _owner
    cdef tuple _key
    cdef _ServiceCells _service
    cdef long long[::1] _traffic
    cdef readonly dict _codes
    cdef readonly Gauge in_flight, waiting, websockets

    @cython.locals(cells=cython.longlong[::1], of_method=dict, answers=Gauge, at=Py_ssize_t, nanoseconds=cython.longlong)
    cpdef finish(
        self, bytes method, int status, double seconds, long long request_bytes,
        long long response_bytes,
    )
    cpdef Gauge _new_code(self, bytes method, int status)
    cpdef connect_seconds(self, double seconds)
    cpdef upstream_error(self, reason)
    cpdef retried(self)
    cpdef spilled(self)
    cpdef sticky(self, result)
    cpdef detach(self)
