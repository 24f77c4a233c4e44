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
    -- Most products have few events: for these, distinct users need not be counted.
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
