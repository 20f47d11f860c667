"""A weighted reverse-proxy gateway that releases software without anybody noticing."""
