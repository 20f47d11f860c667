"""Pure routing decisions: which service and instance a request gets.

The way in is `world.World`: it takes snapshots, its `table` finds a request's
`pool.Pool`, which decides on the service, which picks the instance.
"""
