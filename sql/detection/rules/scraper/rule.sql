-- A checkout is one action and has one of its products: a bought product counts if the user also looked at it.
create temporary view scraper as
select
  'scraper' as rule,
  concat('user#', cast(user_id as string)) as subject,
  window_start_at,
  window_end_at,
  product_count as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from (
  select
    user_id,
    window_start_at,
    window_end_at,
    carts + purchases as wanted_count,
    cast(cardinality(str_to_map(products, ',', '=')) as bigint) as product_count
  from user_windows
  where actions > ${threshold}
)
where product_count > ${threshold} and wanted_count * 100 <= product_count * ${carts_per_100}
