# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lab: several hosts of a godwit cluster on one machine, as network namespaces. See ../README.md."""
