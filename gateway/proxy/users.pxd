# Types for Cython; users.py is the source and runs without it.


cdef class ConnectionUser:
    cpdef request_data(self, bytes data)
    cpdef client_eof(self)
    cpdef client_lost(self)
    cpdef client_writable(self, bint writable)
    cpdef expire(self)
    cpdef has_whole_request(self)
    cpdef upstream_ready(self, connection)
    cpdef upstream_failed(self, error)
    cpdef upstream_data(self, bytes data)
    cpdef upstream_eof(self)
    cpdef upstream_lost(self, error)
    cpdef upstream_writable(self, bint writable)
