"""Leave documents in the spool: definitions, stores, persons and domain data that no run brings along."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from headstream.capture import context
from headstream.capture.errors import SpoolUnusable
from headstream.capture.header import new_header
from headstream.capture.settings import Settings
from headstream.capture.spool import Writer
from headstream.schemas.documents import Document


def leave(documents: Sequence[Document], environ: Mapping[str, str]) -> Path:
    """Write documents into a spool of their own and return it; on return they survive a kill.

    Whoever ships the spool publishes them. Raises SpoolUnusable if there is no spool on disk:
    here nobody's run is at stake, so the failure is the caller's to know.
    """
    settings = Settings.from_env(environ)
    token = secrets.token_hex(8)
    producer = f"{context.hostname()}-{os.getpid()}"
    writer = Writer(new_header("documents", token, None, producer, context.hostname()), settings)
    try:
        if writer.directory is None:
            raise SpoolUnusable(
                f"documents cannot be left in the spool {settings.spool}: it is off, full or read-only; "
                "set HEADSTREAM_SPOOL to a folder that can be written"
            )
        for document in documents:
            if not writer.document(document):
                raise SpoolUnusable(
                    f"{document.kind} {document.name!r} did not fit into the spool {settings.spool}; "
                    "is the disk full?"
                )
    finally:
        writer.close()
    return writer.directory
