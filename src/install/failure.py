"""How the installer fails: a sentence for each thing that is missing."""


class Failure(Exception):
    """Something that the installer cannot do. The message says what is missing and what to do next."""
