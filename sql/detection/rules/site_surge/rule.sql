-- The threshold of a row is the higher one of the fixed threshold and ${factor} times the baseline. The baseline is the
-- mean of the seconds before the window, within the last ${baseline_s}, in which anything happened. With fewer than
-- ${least_baseline_s} such seconds the rule finds nothing: a job that has just started knows no usual rate.
create temporary view site_surge as
select
  'site_surge' as rule,
  subject,
  window_start_at,
  window_end_at,
  actions as num_actions_per_watermark,
  greatest(
    cast(${threshold} as bigint), cast(baseline_actions * ${window_s} * ${factor} / nullif(baseline_seconds, 0) as bigint)
  ) as threshold
from site_activity
where
  window_s = ${window_s}
  and baseline_s = ${baseline_s}
  and baseline_seconds >= ${least_baseline_s}
  and actions > greatest(
    cast(${threshold} as bigint), cast(baseline_actions * ${window_s} * ${factor} / nullif(baseline_seconds, 0) as bigint)
  )
