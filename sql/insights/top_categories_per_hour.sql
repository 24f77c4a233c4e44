with
events as (
  select
    hour(event_at) as event_hour,
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
    event_hour,
    category_code,
    count(distinct case when event_type = 'view' then user_id end) as viewers,
    count_if(event_type = 'view') as views,
    count_if(event_type = 'purchase') as purchases,
    sum(case when event_type = 'purchase' then price else 0 end) as revenue
  from events
  group by event_hour, category_code
),

ranked as (
  select
    event_hour,
    row_number() over (
      partition by event_hour order by viewers desc, views desc, category_code asc
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
  event_hour,
  category_rank,
  category_code,
  viewers,
  views,
  purchases,
  revenue
from ranked
where category_rank <= ${top_n}
order by event_hour, category_rank
