# Types for Cython; upload.py is the source and runs without it.

from gateway.proxy.body cimport Body
from gateway.proxy.heads cimport RequestHead

cdef object _NONE
cdef Upload _NO_UPLOAD


cdef class Upload(Body):
    cdef bint _is_idempotent
    cdef list _kept
    cdef Py_ssize_t _kept_bytes

    cpdef keep(self, bytes piece)
    cpdef bytes kept(self)
    cpdef mark_sent(self)
    cpdef drop(self)


cdef class NoUpload(Upload):
    pass


cpdef Upload upload_of(RequestHead head)
