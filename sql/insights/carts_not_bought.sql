with
events as (
  select
    event_at,
    event_type,
    product_id,
    category_code,
    brand,
    price,
    coalesce('user#' || user_id, 'session#' || user_session) as visitor
  from curated_events
  where
    event_at >= cast(${from_date} as date)
    and event_at < cast(${to_date} as date) + interval '1' day
    and event_type in ('cart', 'remove_from_cart', 'purchase')
    and product_id is not null
),

shopper_products as (
  select
    visitor,
    product_id,
    max(category_code) as category_code,
    max(brand) as brand,
    max(case when event_type = 'cart' then event_at end) as carted_at,
    max(case when event_type = 'remove_from_cart' then event_at end) as removed_at,
    max(case when event_type = 'purchase' then event_at end) as bought_at,
    -- Take the higher of two prices in the same instant: the answer must not depend on the order of rows.
    max_by(price, (event_at, price)) filter (where event_type = 'cart' and price is not null) as price
  from events
  where visitor is not null
  group by visitor, product_id
),

carts as (
  select
    product_id,
    category_code,
    brand,
    price,
    coalesce(bought_at >= carted_at, false) as is_bought,
    coalesce(removed_at >= carted_at, false) as is_removed
  from shopper_products
  where carted_at is not null
),

products as (
  select
    product_id,
    max(category_code) as category_code,
    max(brand) as brand,
    count(*) as carts,
    count_if(is_bought) as bought,
    count_if(is_removed and not is_bought) as removed,
    count_if(not is_removed and not is_bought) as left_behind,
    coalesce(sum(price) filter (where not is_bought), 0) as unsold_value
  from carts
  group by product_id
),

ranked as (
  select
    row_number() over (order by unsold_value desc, product_id asc) as product_rank,
    product_id,
    category_code,
    brand,
    carts,
    bought,
    removed,
    left_behind,
    unsold_value
  from products
  where bought < carts
)

select
  product_rank,
  product_id,
  category_code,
  brand,
  carts,
  bought,
  removed,
  left_behind,
  unsold_value
from ranked
where product_rank <= ${top_n}
order by product_rank
