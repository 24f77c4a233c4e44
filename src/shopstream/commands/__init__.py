"""One module for each group of commands, in the order of the help. Importing them registers the commands."""

from shopstream.commands import local, traffic, detection, incidents, lake, insights, aws, project  # noqa: F401, I001
