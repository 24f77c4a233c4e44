with
events as (
  select
    event_type,
    brand,
    coalesce('user#' || user_id, 'session#' || user_session) as visitor
  from curated_events
  where
    event_at >= cast(${from_date} as date)
    and event_at < cast(${to_date} as date) + interval '1' day
    and event_type in ('view', 'purchase')
    and brand is not null
),

brand_viewers as (
  select
    brand,
    visitor,
    max(case when event_type = 'purchase' then 1 else 0 end) as has_bought
  from events
  where visitor is not null
  group by brand, visitor
  having count_if(event_type = 'view') > 0
),

brands as (
  select
    brand,
    count(*) as viewers,
    sum(has_bought) as buyers
  from brand_viewers
  group by brand
),

shop as (
  select
    sum(viewers) as viewers,
    sum(buyers) as buyers,
    count_if(viewers >= 10) as known_brands,
    sum(case when viewers >= 10 then viewers else 0 end) as known_brand_viewers
  from brands
),

compared as (
  -- Compare fractions as products of whole numbers: a rounded share could let a brand in or keep it out.
  -- nullif: the engine may divide before it joins, even if no brand has enough viewers.
  select
    brands.brand,
    brands.viewers,
    brands.buyers,
    cast(brands.buyers as decimal(23, 4)) / brands.viewers as conversion,
    cast(shop.buyers as decimal(23, 4)) / nullif(shop.viewers, 0) as shop_conversion,
    cast(shop.known_brand_viewers as decimal(20, 1)) / nullif(shop.known_brands, 0) as average_viewers,
    cast(brands.buyers * shop.viewers - brands.viewers * shop.buyers as decimal(21, 2))
    / nullif(shop.viewers, 0) as extra_buyers
  from brands
  cross join shop
  where
    brands.viewers >= 10
    and brands.buyers >= 2
    and brands.buyers * shop.viewers > shop.buyers * brands.viewers
    and brands.viewers * shop.known_brands < shop.known_brand_viewers
),

ranked as (
  select
    row_number() over (order by extra_buyers desc, viewers desc, brand asc) as brand_rank,
    brand,
    viewers,
    buyers,
    conversion,
    shop_conversion,
    average_viewers,
    extra_buyers
  from compared
)

select
  brand_rank,
  brand,
  viewers,
  buyers,
  conversion,
  shop_conversion,
  average_viewers,
  extra_buyers
from ranked
where brand_rank <= ${top_n}
order by brand_rank
