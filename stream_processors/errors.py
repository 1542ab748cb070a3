"""Errors of the stream processors.

TrackerError
|-- InvalidSetting            an environment variable that cannot be used
|-- TopicsUnusable            topics are missing, or cannot be made
|-- DefinitionsUnavailable    the definitions topic could not be read to its end in time
|-- BrokerUnreachable         a bounded read got no answer
|-- RedriveFailed             the broker did not take a letter that was sent again
|-- InvalidSelection          a range that a replay cannot have
|-- RetentionExpired          a replay or an archive would leave out messages that are already deleted
|-- ArchiveUnreadable         a file of an archive is missing, corrupt or none of ours
`-- ArchiveUnusable           a folder that these topics cannot be archived into
"""

from __future__ import annotations


class TrackerError(Exception):
    """Base of everything that stops a worker or a replay; the message says what to do."""


class InvalidSetting(TrackerError):
    """The message names the variable, what it holds and what it may hold."""


class TopicsUnusable(TrackerError):
    """The message names each topic and what is wrong with it."""


class DefinitionsUnavailable(TrackerError):
    """A worker never begins without the definitions: it would park every bag."""


class BrokerUnreachable(TrackerError):
    """The message names the topic and how long the broker was silent."""


class RedriveFailed(TrackerError):
    """What is not settled still waits; the same command again goes on with it."""


class RetentionExpired(TrackerError):
    """A graph rebuilt from the rest would be silently partial; names the first missing offset."""


class InvalidSelection(TrackerError):
    """The message says what was given, and how it is written or what there is."""


class ArchiveUnreadable(TrackerError):
    """The message names the file."""


class ArchiveUnusable(TrackerError):
    """The folder holds the archive of other topics; the message says of which."""
