"""A weighted reverse-proxy gateway that releases software without anybody noticing."""

from gateway.compiled import heed_switch

heed_switch()
