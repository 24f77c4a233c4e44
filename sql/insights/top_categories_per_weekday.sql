with
events as (
  select
    day_of_week(event_at) as event_weekday,
    event_type,
    category_code,
    price * coalesce(quantity, 1) as revenue,
    coalesce('user#' || user_id, 'session#' || user_session) as visitor
  from curated_events
  where
    event_at >= cast(${from_date} as date)
    and event_at < cast(${to_date} as date) + interval '1' day
    and event_type in ('view', 'purchase')
    and category_code is not null
),

categories as (
  select
    event_weekday,
    category_code,
    count(distinct case when event_type = 'view' then visitor end) as viewers,
    count_if(event_type = 'view') as views,
    count_if(event_type = 'purchase') as purchases,
    coalesce(sum(revenue) filter (where event_type = 'purchase'), 0) as revenue
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
