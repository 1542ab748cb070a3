"""The seismic use case of the paper from raw file to answers (section V), and the freshness of the graph."""

# What `--freshness` sends unless told otherwise: events a second, and for how many seconds.
RATE = 100
SECONDS = 30.0
