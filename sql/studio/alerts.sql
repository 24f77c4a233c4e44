-- Stream 2, which the alert function reads.
create table alerts (
  alert_id                  string not null,
  rule                      string not null,
  subject                   string not null,
  window_start_at           string not null,
  window_end_at             string not null,
  num_actions_per_watermark bigint not null,
  threshold                 bigint not null,
  level                     bigint not null
)
-- This becomes the partition key: alerts of one subject stay in order on one shard.
partitioned by (subject)
with (
  'connector' = 'kinesis',
  'format' = 'json'
)
