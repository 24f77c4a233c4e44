"""Project: generated files, packages, checks."""
