"""A demonstration: small real servers for the gateway to route to, and a tour.

Standard library only, and nothing of the rest of the gateway: what stands here
could as well be somebody's application.
"""
