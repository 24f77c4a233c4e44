"""Traffic: replay, make, compare and upload shop events."""
