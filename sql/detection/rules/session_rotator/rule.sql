create temporary view session_rotator as
select
  'session_rotator' as rule,
  subject,
  window_start_at,
  window_end_at,
  sessions as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from activity
where window_s = ${window_s} and sessions > ${threshold}
