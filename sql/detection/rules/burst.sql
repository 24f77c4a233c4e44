-- title: Burst
-- question: Who does more than ${threshold} things within ${window_s} seconds, which no shopper can?
-- grain: one row per burst: at the event that lifts the user's count above the threshold
insert into alerts
with
events as (
  select
    user_id,
    event_at,
    -- The whole event: the same one delivered twice must count once.
    concat_ws(
      '|',
      event_time, event_type, cast(product_id as string), cast(category_id as string), category_code, brand,
      cast(price as string), user_session
    ) as content
  from raw_events
  where user_id is not null and txn_timestamp is not null
),

counted as (
  -- RANGE takes in all events of the same instant, and follows each event: no boundary for a burst to hide astride.
  -- RANGE's far end is closed, so ${lookback_s} s of millisecond times are the half-open (t - ${window_s} s, t].
  select
    user_id,
    event_at,
    count(distinct content || cast(event_at as string)) over (
      partition by user_id order by event_at
      range between interval '${lookback_s}' second(3) preceding and current row
    ) as event_count
  from events
),

risen as (
  -- Each user's rows arrive here in event-time order. Ordered by arrival, this step waits for no second watermark: at
  -- the end of a drained stream one shard's last watermark can overtake another's last rows, and they would stay behind.
  select
    user_id,
    event_at,
    event_count,
    min(event_count) over latest_two as lower_count,
    count(*) over latest_two as row_count
  from (select *, proctime() as arrived_at from counted)
  window latest_two as (
    partition by user_id order by arrived_at
    rows between 1 preceding and current row
  )
)

select
  concat_ws(
    ':', 'burst', cast(user_id as string), date_format(event_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')
  ) as alert_id,
  'burst' as rule,
  user_id,
  date_format(
    timestampadd(second, -${window_s}, event_at), 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''
  ) as window_start_at,
  date_format(event_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as window_end_at,
  event_count,
  cast(${threshold} as bigint) as threshold
from risen
where event_count > ${threshold} and (lower_count <= ${threshold} or row_count = 1)
