create temporary view session_rotator as
select
  'session_rotator' as rule,
  concat('user#', cast(user_id as string)) as subject,
  window_start_at,
  window_end_at,
  session_count as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from (
  select
    user_id,
    window_start_at,
    window_end_at,
    cast(cardinality(str_to_map(sessions, ',', '=')) as bigint) as session_count
  from user_windows
  where actions > ${threshold}
)
where session_count > ${threshold}
