"""Stand-ins for what polls, buffers and extracts on AWS: event source mapping, Firehose, embedded metrics."""
