-- title: What users do
-- grain: one row per action: an event, however often it is delivered, or a checkout, however many things it buys
-- Left out: no user, no time to go by (source.sql). Which deliveries are known is forgotten an hour after the first
-- (table.exec.state.ttl in src/detector/main.py). The events keep their times: each rule that reads this view takes one
-- step in event time and no second one (docs/adr/0008-one-event-time-step-for-each-rule.md).
create temporary view actions as
select user_id, event_at, event_type, product_id, user_session
from (
  select *, row_number() over (partition by user_id, action order by arrived_at) as delivery
  from (
    select
      user_id,
      event_at,
      event_type,
      product_id,
      user_session,
      -- As JSON, null and '' differ, and so do 'x' in one column and 'x' in the next; hashed, it is short.
      md5(
        case event_type
          when 'purchase'
            then json_array('purchase', cast(event_at as string), user_session null on null)
          else json_array(
            cast(event_at as string), event_time, event_type, product_id, category_id, category_code, brand, price,
            user_session null on null
          )
        end
      ) as action,
      proctime() as arrived_at
    from raw_events
    where user_id is not null and event_at > to_timestamp_ltz(0, 3)
  )
)
where delivery = 1
