"""Events to a Kinesis stream, a file or a bucket."""
