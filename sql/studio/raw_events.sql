-- Stream 1, with the columns that the statements below need. An event without a usable time gets 1970: a null here would
-- end the whole job.
create table raw_events (
  event_type    string,
  product_id    string,
  user_id       string,
  user_session  string,
  event_time    string,
  txn_timestamp timestamp_ltz(3),
  event_at as coalesce(txn_timestamp, to_timestamp_ltz(0, 3)),
  watermark for event_at as event_at - interval '2' second
) with (
  'connector' = 'kinesis',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601',
  'json.ignore-parse-errors' = 'true'
)
