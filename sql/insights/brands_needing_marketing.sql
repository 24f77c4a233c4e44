-- title: Brands that need marketing
-- question: Which brands sell well to those who see them, but are seen by few?
-- grain: one row per brand that is seen less and bought more often than others, the strongest case first
-- Marketing buys attention, so it pays where attention is what is missing. A brand is listed when its conversion (of
-- the shoppers who viewed it, those who bought it) is above the shop's over all brands, and its viewers are below the
-- average of brands with at least 10 viewers. It needs 10 viewers and 2 buyers itself. The rank is by extra buyers:
-- those beyond what the shop's conversion would give, so that two lucky sales don't lead. A brand that is seen a lot
-- and converts badly is not listed: its problem is price or product, and more visitors would not mend it.
with
events as (
  select
    event_type,
    brand,
    user_id
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
    user_id,
    max(case when event_type = 'purchase' then 1 else 0 end) as has_bought
  from events
  group by brand, user_id
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
  -- Fractions are compared as products of whole numbers: exact, where a rounded share could tip a brand in or out.
  -- nullif: the engine may divide before it joins, also where no brand has enough viewers.
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
