-- title: Tallies of unjudged events, as they stand in stream 2
-- Stream name, region and sink tuning come with the application's property group `table.unjudged`.
create table unjudged (
  reason      string not null,
  counted_at  string not null,
  event_count bigint not null
)
-- Becomes the partition key.
partitioned by (reason)
with (
  'connector' = 'kinesis',
  'format' = 'json'
)
