# Types for Cython; greeting.py is the source and runs without it.


cdef class Greeting:
    cdef object _loop, _sock, _on_hello, _on_http, _on_end, _nap
    cdef Py_ssize_t _needed
    cdef bint _spoke, _is_over

    cdef _wake_at(self, Py_ssize_t size)
    cdef _pause(self)
    cdef _let_go(self)
    cdef _end(self)
