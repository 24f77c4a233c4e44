-- title: Alerts, as the chart below reads them
-- Stream 2 holds tallies of unjudged events too, which have none of these columns: so they may be null here.
create table alerts_of_stream_2 (
  alert_id      string,
  rule          string,
  window_end_at string
) with (
  'connector' = 'kinesis',
  'format' = 'json'
)
