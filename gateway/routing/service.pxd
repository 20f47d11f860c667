# Types for Cython; service.py is the source and runs without it.


cdef class InstanceState:
    cdef public object id, host, port, ports, tls, condition
    cdef public ServiceState service
    cdef public bint usable, ejected
    cdef public double ejected_until
    cdef public Py_ssize_t ejections, failures, in_flight, tunnels
    cdef public dict upstreams, decisions

    cpdef port_for(self, port)


cdef class ServiceState:
    cdef public object id, application, name, version, drain_s, in_flight_limit
    cdef public tuple instances, candidates
    cdef public bint usable
    cdef public set pools
    cdef public dict decisions
    cdef object _new_balancer, _balancer_name, _balancer

    cpdef InstanceState pick(self, tried=*)
