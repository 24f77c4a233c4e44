-- Stream 2 also holds tallies, which have none of these columns. So the columns may be null here.
create table alerts_of_stream_2 (
  alert_id      string,
  rule          string,
  window_end_at string
) with (
  'connector' = 'kinesis',
  'format' = 'json'
)
