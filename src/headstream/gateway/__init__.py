"""The gateway: capture clients that are not ours speak to it over HTTP (spec section 9).

    request -> intake (pure translation, scope of the run) -> keeper (durable) -> answer

What a client says is answered when it is acknowledged by Kafka, or synced to the spool.
"""
