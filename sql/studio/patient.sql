-- The other rules for shoppers count over ten minutes. As windows of the clock that begin every five minutes they look like
-- this. The deployed ones end at each action, so they alert at the action that crosses the threshold.
select
  subject,
  window_start,
  window_end,
  count(*) as actions,
  count(distinct case event_type when 'view' then product_id end) as products,
  count(distinct user_session) as sessions,
  count(*) filter (where event_type = 'cart') as carts,
  count(*) filter (where event_type = 'purchase') as purchases
from table(hop(table actions, descriptor(event_at), interval '300' second(3), interval '600' second(3)))
group by subject, window_start, window_end
having
  count(distinct case event_type when 'view' then product_id end) > ${scraper}
  or count(distinct user_session) > ${session_rotator}
  or count(*) filter (where event_type = 'cart') > ${cart_hoarder}
