-- Several rules share these windows. Products and sessions are lists, in which a rule counts distinct entries. Flink
-- would keep sets in state entry by entry, which takes RocksDB ten times as long
-- (docs/adr/0008-one-event-time-step-for-each-rule.md).
create temporary view user_windows as
select
  user_id,
  timestampadd(second, -1, window_start) as window_start_at,
  timestampadd(second, -1, window_end) as window_end_at,
  count(*) as actions,
  count(*) filter (where event_type = 'cart') as carts,
  count(*) filter (where event_type = 'purchase') as purchases,
  listagg(cast(product_id as string)) as products,
  -- Hashed, because a session may contain the comma that separates entries.
  listagg(substring(md5(user_session), 1, 16)) as sessions
from table(
  hop(table paced_actions, descriptor(event_at), interval '${slide_s}' second(3), interval '${window_s}' second(3))
)
group by user_id, window_start, window_end
