-- title: Top categories per weekday
-- question: Which categories do the most shoppers look at on each day of the week, so that discounts meet demand?
-- grain: one row per weekday (1 = Monday to 7 = Sunday, UTC) and category among that weekday's top
-- Ranked by shoppers who viewed, not by views: one crawler must not decide what is popular. A shopper counts once per
-- weekday and category in the whole range. Products without a category name are left out: there is nothing to promote.
with
events as (
  select
    day_of_week(event_at) as event_weekday,
    event_type,
    category_code,
    price,
    user_id
  from curated_events
  where
    event_at >= cast(${from_date} as date)
    and event_at < cast(${to_date} as date) + interval '1' day
    and category_code is not null
),

categories as (
  select
    event_weekday,
    category_code,
    count(distinct case when event_type = 'view' then user_id end) as viewers,
    count_if(event_type = 'view') as views,
    count_if(event_type = 'purchase') as purchases,
    sum(case when event_type = 'purchase' then price else 0 end) as revenue
  from events
  group by event_weekday, category_code
),

ranked as (
  select
    event_weekday,
    row_number() over (
      partition by event_weekday order by viewers desc, views desc, category_code asc
    ) as category_rank,
    category_code,
    viewers,
    views,
    purchases,
    revenue
  from categories
  where views > 0
)

select
  event_weekday,
  category_rank,
  category_code,
  viewers,
  views,
  purchases,
  revenue
from ranked
where category_rank <= ${top_n}
order by event_weekday, category_rank
