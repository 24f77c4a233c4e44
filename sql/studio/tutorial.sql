-- The rule of the blog post that this project comes from: tumbling windows, and raw events in place of actions. It misses
-- a burst on both sides of a window's boundary.
insert into alerts
select
  concat_ws(':', 'tutorial', subject, date_format(window_end, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''')) as alert_id,
  'tutorial' as rule,
  subject,
  date_format(window_start, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as window_start_at,
  date_format(window_end, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z''') as window_end_at,
  num_actions_per_watermark,
  cast(5 as bigint) as threshold,
  cast(1 as bigint) as level
from (
  select
    concat('user#', user_id) as subject,
    window_start,
    window_end,
    count(1) as num_actions_per_watermark
  from table(tumble(table raw_events, descriptor(event_at), interval '10' second))
  where user_id is not null
  group by window_start, window_end, user_id
  having count(1) > 5
)
