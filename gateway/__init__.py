"""A weighted reverse-proxy gateway that releases software without anybody noticing."""

from gateway.compiled import set_up

set_up()
