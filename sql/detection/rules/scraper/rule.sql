create temporary view scraper as
select
  'scraper' as rule,
  subject,
  window_start_at,
  window_end_at,
  products as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from activity
where
  window_s = ${window_s}
  and products > ${threshold}
  and (carts + purchases) * 100 <= products * ${carts_per_100}
