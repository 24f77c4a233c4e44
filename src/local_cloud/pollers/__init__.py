"""Stand-ins for the services that poll on AWS: event source mapping, Firehose, embedded metrics."""
