-- The threshold of a row is the higher one of the fixed threshold and ${factor} times what is usual for the product: the
-- mean of the windows of the clock that ended before the window began, within the last ${baseline_s}. Those without
-- anybody count too. So a new product has the fixed threshold.
create temporary view product_flood as
select
  'product_flood' as rule,
  subject,
  window_start_at,
  window_end_at,
  actors as num_actions_per_watermark,
  greatest(
    cast(${threshold} as bigint), cast(baseline_actors * ${factor} / nullif(baseline_windows, 0) as bigint)
  ) as threshold
from product_activity
where
  window_s = ${window_s}
  and baseline_s = ${baseline_s}
  and actors > greatest(
    cast(${threshold} as bigint), cast(baseline_actors * ${factor} / nullif(baseline_windows, 0) as bigint)
  )
