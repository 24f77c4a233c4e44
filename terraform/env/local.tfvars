# One machine without an AWS account. AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_KINESIS give the endpoints.
environment = "local"

force_destroy = true

# Lifecycle rules take a minute to apply; this stack lives for a few minutes.
lifecycle_rules = false

# Two, so that nothing works only with one shard.
raw_stream_shard_count = 2

# The local cloud runs the detector itself: the emulator stores the application, but runs no Flink.
start_detector = false

# The emulator has no Studio notebooks.
enable_studio = false

# A demo should not wait five minutes for its raw objects, or one minute for a checkpoint.
delivery_buffer_mb     = 5
delivery_buffer_s      = 5
checkpoint_interval_ms = 5000

alert_sink_options = {
  "buffer_ms"                 = "20"
  "aws.http.protocol.version" = "HTTP1_1"
}

# A replay at full speed runs ahead of the clock, by up to the time that its file spans. Tallies
# come each second, so that nobody waits for them.
detection = {
  source   = { max_ahead_s = 2678400 }
  unjudged = { step_s = 1 }
}

# The end of an incident should be seen within minutes.
incident_quiet_s = 60

# The emulator has no metrics of Lambda and SQS, and ignores an alarm's dimensions.
enable_alarms = false
