-- title: Burst
-- question: Who does more than ${threshold} things within ${window_s} seconds, which no shopper can?
-- grain: one row per burst and level: at the event that lifts the user's count to it; after a quiet window, anew
insert into alerts
with
events as (
  select
    user_id,
    event_at,
    -- The whole event: the same one delivered twice must count once. As JSON, null and '' differ, and so do 'x' in one
    -- column and 'x' in the next.
    json_array(
      event_time, event_type, product_id, category_id, category_code, brand, price, user_session null on null
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

levelled as (
  -- 0 up to the threshold, 1 above it, and one more each time the count doubles: the binary digits of the whole
  -- quotient. A logarithm would be rounded just where the level rises.
  select
    user_id,
    event_at,
    event_count,
    case
      when event_count > ${threshold} then char_length(bin(event_count / (${threshold} + 1)))
      else 0
    end as level
  from counted
),

risen as (
  -- Each user's rows arrive here in event-time order. Ordered by arrival, this step waits for no second watermark: at
  -- the end of a drained stream one shard's last watermark can overtake another's last rows, and they would stay behind.
  select
    user_id,
    event_at,
    event_count,
    level,
    lag(level) over arrivals as previous_level,
    lag(event_at) over arrivals as previous_at
  from (select *, proctime() as arrived_at from levelled)
  window arrivals as (partition by user_id order by arrived_at)
)

select
  concat_ws(
    ':',
    'burst',
    concat('user#', cast(user_id as string)),
    date_format(event_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')
  ) as alert_id,
  'burst' as rule,
  concat('user#', cast(user_id as string)) as subject,
  date_format(
    timestampadd(second, -${window_s}, event_at), 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''
  ) as window_start_at,
  date_format(event_at, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as window_end_at,
  event_count as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold,
  cast(level as bigint) as level
from risen
where
  level > 0
  and (
    previous_level is null
    or previous_level < level
    -- The count was 0 in between, and no row tells of that.
    or previous_at < timestampadd(second, -${window_s}, event_at)
  )
