create temporary view burst as
select
  'burst' as rule,
  concat('user#', cast(user_id as string)) as subject,
  timestampadd(second, -${window_s}, cast(event_at as timestamp(3))) as window_start_at,
  cast(event_at as timestamp(3)) as window_end_at,
  action_count as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from (
  select
    user_id,
    event_at,
    -- A window ends at each action and holds all actions of that second, so no burst is split by a boundary. RANGE
    -- includes both ends, so ${window_s_before} s of whole seconds are the half-open (t - ${window_s} s, t].
    count(*) over (
      partition by user_id order by event_at
      range between interval '${window_s_before}' second(3) preceding and current row
    ) as action_count
  from actions
)
where action_count > ${threshold}
