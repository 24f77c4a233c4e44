create temporary view cart_hoarder as
select
  'cart_hoarder' as rule,
  subject,
  window_start_at,
  window_end_at,
  carts_left as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from activity
where window_s = ${window_s} and carts_left > ${threshold} and purchases = 0
