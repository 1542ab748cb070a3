"""The seismic use case of the paper from raw file to answers (section V), and the freshness of the graph."""
