"""What can go wrong with the services of the full mode.

::

    ServicesError
    ├── ToolMissing        java or mvn is not there, or java is too old
    ├── DownloadFailed     Maven did not bring the pinned files
    ├── PortInUse          something else listens where a service should
    ├── AlreadyRunning     a process of ours, or another `headstream up`, holds the data directory
    ├── StartFailed        a process died, or was not ready in time
    ├── StateUnreadable    services.json is not what headstream writes
    └── NamespaceRefused   Blazegraph did not make or drop a namespace
"""


class ServicesError(Exception):
    """Something about the services failed; the message says what to do."""


class ToolMissing(ServicesError):
    """A program that the services need is missing or too old."""


class DownloadFailed(ServicesError):
    """The jars could not be fetched, or are not the pinned ones."""


class PortInUse(ServicesError):
    """Another process listens on the port a service was told to use."""


class AlreadyRunning(ServicesError):
    """The data directory is in use by a process that headstream started."""


class StartFailed(ServicesError):
    """A process died before it was ready, or was not ready in time."""


class StateUnreadable(ServicesError):
    """The state file in the data directory cannot be understood."""


class NamespaceRefused(ServicesError):
    """Blazegraph refused to make or to drop a namespace."""
