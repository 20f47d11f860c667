# Types for Cython; entrypoint.py is the source and runs without it.


cdef class Entrypoint:
    cdef public object name, open, serve, tls, redirect
    cdef public bytes port, hsts
    cdef public bint internal, proxy_protocol
