environment = "prod"

# So that dev and prod can share one account.
prefix = "prod-"

raw_stream_shard_count   = 2
alert_stream_shard_count = 1

# Nothing may be lost on a weekend when nobody is there.
stream_retention_hours     = 168
alert_maximum_record_age_s = 302400

point_in_time_recovery = true
deletion_protection    = true
log_retention_days     = 90
