-- Stream name, region and sink tuning come from the application's property group `table.unjudged`.
create table unjudged (
  reason      string not null,
  counted_at  string not null,
  event_count bigint not null
)
-- This becomes the partition key.
partitioned by (reason)
with (
  'connector' = 'kinesis',
  'format' = 'json'
)
