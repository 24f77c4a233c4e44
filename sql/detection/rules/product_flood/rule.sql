create temporary view product_flood as
select
  'product_flood' as rule,
  subject,
  window_start_at,
  window_end_at,
  actors as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from product_activity
where window_s = ${window_s} and actors > ${threshold}
