-- An alert that was delivered twice counts once. The chart follows the stream while its cell runs.
select
  substring(cast(window_end_at as string), 1, 16) as alert_minute,
  rule,
  count(distinct alert_id) as alerts
from alerts_of_stream_2
where alert_id is not null -- a tally
group by substring(cast(window_end_at as string), 1, 16), rule
