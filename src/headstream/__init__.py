"""headstream: provenance of running workflows, streamed into a PROV-ML knowledge graph."""

__version__ = "0.1.0"
