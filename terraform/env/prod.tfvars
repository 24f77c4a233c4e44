environment = "prod"

# Beside dev in one account, names must differ.
prefix = "prod-"

raw_stream_shard_count   = 2
alert_stream_shard_count = 1

# A weekend without anybody looking must lose nothing.
stream_retention_hours     = 168
alert_maximum_record_age_s = 302400

point_in_time_recovery = true
deletion_protection    = true
log_retention_days     = 90
