with
events as (
  select
    cast(event_at as date) as visit_date,
    event_type,
    user_id,
    user_session
  from curated_events
  where
    event_at >= cast(${from_date} as date)
    and event_at < cast(${to_date} as date) + interval '1' day
)

select
  visit_date,
  count(distinct user_id) as visitors,
  count(distinct user_session) as sessions,
  count(distinct case when event_type = 'purchase' then user_id end) as buyers
from events
group by visit_date
order by visit_date
