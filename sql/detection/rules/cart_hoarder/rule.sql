create temporary view cart_hoarder as
select
  'cart_hoarder' as rule,
  concat('user#', cast(user_id as string)) as subject,
  window_start_at,
  window_end_at,
  carts as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from user_windows
where carts > ${threshold} and purchases = 0
