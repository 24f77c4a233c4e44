-- Stream name, region and position come from the application's property group `table.raw_events`.
create table raw_events (
  event_time    string,
  event_type    string,
  product_id    bigint,
  category_id   bigint,
  category_code string,
  brand         string,
  price         decimal(12, 2),
  user_id       bigint,
  user_session  string,
  txn_timestamp timestamp_ltz(3),
  -- Times are cut to whole seconds, as in the data set. An event without a usable time gets 1970, and the rules leave
  -- it out. A null here would end the whole job, even with ignore-parse-errors. A time more than ${max_ahead_s} s ahead
  -- of the clock would make all other events late until then. Nothing is lost: the curated lake holds the event, or its
  -- quarantine holds the record and the reason.
  event_at as case
    when txn_timestamp between to_timestamp_ltz(0, 3) and timestampadd(second, ${max_ahead_s}, current_timestamp)
      then cast(txn_timestamp as timestamp_ltz(0))
    else to_timestamp_ltz(0, 0)
  end,
  -- Two seconds of delay, and the one that is cut off above.
  watermark for event_at as event_at - interval '3' second
) with (
  'connector' = 'kinesis',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601',
  'json.ignore-parse-errors' = 'true',
  'scan.shard-assigner' = 'one-shard-per-subtask'
)
