"""Real Kafka and Blazegraph (and headstream's own processes) on one machine, without containers."""
