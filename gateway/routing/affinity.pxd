# Types for Cython; affinity.py is the source and runs without it.

import cython

cdef bytes _BLANKS

@cython.locals(at=Py_ssize_t, begin=Py_ssize_t, end=Py_ssize_t, is_one=bint, rest=bytes)
cpdef bytes strip_cookie(bytes header, bytes name)
