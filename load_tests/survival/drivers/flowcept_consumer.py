"""FlowCept's own consumer: from Kafka into its LMDB store, until it is killed."""

from flowcept.flowceptor.consumers.document_inserter import DocumentInserter

DocumentInserter(check_safe_stops=False).start(threaded=False)
