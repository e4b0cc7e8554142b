# SPDX-License-Identifier: GPL-2.0
"""What the Makefile of Holdfast calls: fetch, build, test, lint."""
