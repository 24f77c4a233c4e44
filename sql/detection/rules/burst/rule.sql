create temporary view burst as
select
  'burst' as rule,
  subject,
  window_start_at,
  window_end_at,
  actions as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from activity
where window_s = ${window_s} and actions > ${threshold}
