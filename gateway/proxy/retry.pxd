# Types for Cython; retry.py is the source and runs without it.


cdef double _EARN, _CAP


cdef class RetryBudget:
    cdef double _tokens

    cpdef earn(self)
    cpdef bint spend(self)
