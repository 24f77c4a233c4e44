"""The command line, `shopstream`: every task of the project, for people and for the Makefile."""
