create temporary view identity_rotator as
select
  'identity_rotator' as rule,
  subject,
  window_start_at,
  window_end_at,
  actors as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from address_activity
where window_s = ${window_s} and actors > ${threshold}
