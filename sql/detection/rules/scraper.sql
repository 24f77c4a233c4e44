-- title: Scraper
-- question: Who looks at more than ${threshold} products within the window, and hardly puts one into the cart?
-- grain: one row per user and window in which the user's count is above the threshold
-- subject: user
-- owasp: OAT-011 Scraping
-- window: user_windows
-- threshold: 60
-- carts_per_100: 5
-- A checkout is one action, with one of its products: what is bought counts as seen if it was looked at.
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
