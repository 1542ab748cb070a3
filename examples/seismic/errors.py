"""Errors of the seismic example; a script turns each into one line and a failing exit.

SeismicError
|-- SurveyUnreadable     no file, no permission, or not SEG-Y
|-- SurveyNotACube       SEG-Y, but a 2-D line or traces that fill no regular grid
|-- DatasetUnreadable    an HDF5 file or polygons document that an earlier script should have written
|-- SelectionOutside     inlines or crosslines that the survey does not have
|-- TooSmall             too few slices, samples or tiles to go on with
`-- BadOption            an option on the command line that cannot be used
"""

from __future__ import annotations


class SeismicError(Exception):
    """Base of everything that can be wrong with the input of the example."""


class SurveyUnreadable(SeismicError):
    """The SEG-Y file cannot be read; the message says why and what to give instead."""


class SurveyNotACube(SeismicError):
    """The file holds no 3-D post-stack cube; the message says what it holds."""


class DatasetUnreadable(SeismicError):
    """A file between two scripts is missing or is not what the earlier script writes."""


class SelectionOutside(SeismicError):
    """The slices asked for are not all in the survey; the message says which it has."""


class TooSmall(SeismicError):
    """What is left is too little to go on; the message says which option to relax."""


class BadOption(SeismicError):
    """An option cannot be used; the message names it and gives an example."""
