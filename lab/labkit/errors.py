# SPDX-License-Identifier: LGPL-2.1-or-later
"""The errors that a user of the lab can act on."""


class LabError(Exception):
    """Something that went wrong: what, where, and what to do about it. Exit status 1."""


class UsageError(LabError):
    """Something that was asked for wrongly. Exit status 2."""
