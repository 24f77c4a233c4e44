-- title: Product flood
-- question: Which product do more than ${threshold} users look at within ${window_s} seconds?
-- grain: one row per product and window in which its count is above the threshold
-- subject: product
-- owasp: OAT-016 Skewing
-- window_s: 10
-- slide_s: 5
-- threshold: 50
create temporary view product_flood as
select
  'product_flood' as rule,
  concat('product#', cast(product_id as string)) as subject,
  window_start_at,
  window_end_at,
  user_count as num_actions_per_watermark,
  cast(${threshold} as bigint) as threshold
from (
  select
    product_id,
    timestampadd(second, -1, window_start) as window_start_at,
    timestampadd(second, -1, window_end) as window_end_at,
    -- Most products have few events: their users need not be told apart.
    case when events > ${threshold} then cast(cardinality(str_to_map(users, ',', '=')) as bigint) end as user_count
  from (
    select
      product_id,
      window_start,
      window_end,
      count(*) as events,
      listagg(cast(user_id as string)) as users
    from table(
      hop(table actions, descriptor(event_at), interval '${slide_s}' second(3), interval '${window_s}' second(3))
    )
    where product_id is not null
    group by product_id, window_start, window_end
  )
)
where user_count > ${threshold}
