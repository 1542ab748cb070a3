"""What other trackers wrote, told as headstream's own events.

Each source is read by a module of its own and mapped by pure functions; identifiers are those of the
source, so that reading it again says the same again. What has no place in the graph is said as well.
"""
