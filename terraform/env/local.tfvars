# One machine, no AWS account: the endpoints come from AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_KINESIS.
environment = "local"

force_destroy = true

# AWS's confirmation of lifecycle rules takes a minute; this stack lives for a few.
lifecycle_rules = false

# Two, so that nothing silently relies on one shard.
raw_stream_shard_count = 2

# The local cloud runs the detector itself: the emulator knows the application, but has no Flink.
start_detector = false

# The emulator has no Studio notebooks.
enable_studio = false

# A demo does not wait five minutes for its raw objects, nor one for a checkpoint.
delivery_buffer_mb     = 5
delivery_buffer_s      = 5
checkpoint_interval_ms = 5000

alert_sink_options = {
  "sink.flush-buffer.timeout"         = "20"
  "sink.http-client.protocol.version" = "HTTP1_1"
}

# A replay at full speed runs ahead of the clock, by as much as its file is long. A drain waits for the last tally of what
# the rules did not judge.
detection = {
  source   = { max_ahead_s = 2678400 }
  unjudged = { step_s = 1 }
}
