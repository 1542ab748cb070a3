"""One run out of the graph, in the forms that other tools read (docs/reference/exports.md)."""
