# Types for Cython; lines.py is the source and runs without it.

import cython

from gateway.proxy.heads cimport HeadLimits
from gateway.proxy cimport scan

@cython.locals(line_end=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t)
cpdef check_part(bytes data, Py_ssize_t start, Py_ssize_t searched, HeadLimits limits, int status)

@cython.locals(count=Py_ssize_t)
cpdef check_lines(bytes data, Py_ssize_t start, Py_ssize_t end, HeadLimits limits, int status)
