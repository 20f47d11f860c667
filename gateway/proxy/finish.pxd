# Types for Cython; finish.py is the source and runs without it.

import cython

from gateway.proxy.access_line cimport Entry
from gateway.proxy.access_log cimport AccessLog
from gateway.proxy.exchange cimport Exchange
from gateway.proxy.heads cimport RequestHead
from gateway.proxy.stream cimport ClientStream
from gateway.proxy.target cimport Target
from gateway.routing.pool cimport Pool

cdef object _REASON_NONE, _STICKY_OFF, _STICKY_HIT, _STICKY_NEW, _OFF, _HIT, _NEW

@cython.locals(head=RequestHead, pool=Pool, target=Target, client=ClientStream, entry=Entry)
cpdef log(Exchange exchange, double now, AccessLog access_log)
