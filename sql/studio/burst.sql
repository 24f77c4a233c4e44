-- The deployed rule is `actions > ${threshold}` over what a Java operator counts. In SQL the same is a window that ends at
-- each action and holds all actions of its instant, so no boundary splits a burst. RANGE includes both ends: a
-- millisecond less makes it (t - ${window_s} s, t].
select subject, event_at, action_count
from (
  select
    subject,
    event_at,
    count(*) over (
      partition by subject order by event_at
      range between interval '${window_before}' second(3, 3) preceding and current row
    ) as action_count
  from actions
)
where action_count > ${threshold}
