with
events as (
  select
    cast(event_at as date) as visit_date,
    event_type,
    user_session,
    coalesce('user#' || user_id, 'session#' || user_session) as visitor
  from curated_events
  where
    event_at >= cast(${from_date} as date)
    and event_at < cast(${to_date} as date) + interval '1' day
    and event_type in ('view', 'cart', 'remove_from_cart', 'purchase')
)

select
  visit_date,
  count(distinct visitor) as visitors,
  count(distinct user_session) as sessions,
  count(distinct case when event_type = 'purchase' then visitor end) as buyers
from events
group by visit_date
order by visit_date
