# Types for Cython; lines.py is the source and runs without it.

from gateway.proxy.heads cimport HeadLimits

cpdef check_part(data, Py_ssize_t start, Py_ssize_t searched, HeadLimits limits, int status)
cpdef check_lines(head, Py_ssize_t count, HeadLimits limits, int status)
cpdef check_bytes(lines, Py_ssize_t count, int status)
