-- Leaves out events without a user or without a usable time (source.sql). A delivery counts as repeated for an hour
-- after the first one (table.exec.state.ttl in src/detector/job.py). The events keep their times: each rule that reads
-- this view takes one step in event time and no second one (docs/adr/0008-one-event-time-step-for-each-rule.md).
create temporary view actions as
select user_id, event_at, event_type, product_id, user_session
from (
  select *, row_number() over (partition by user_id, event_at, action order by arrived_at) as delivery
  from (
    select
      user_id,
      event_at,
      event_type,
      product_id,
      user_session,
      -- Null and '' must differ, and so must 'x' in one column and 'x' in the next: U+0001 means null, U+0002 separates
      -- columns. No shop's data has these characters. json_array would not need them, but was the slowest function of
      -- the job. The hash of 64 bits keeps it short, and is enough for what one user does in one second.
      substring(
        md5(
          case event_type
            when 'purchase' then concat('purchase', U&'\0002', coalesce(user_session, U&'\0001'))
            else concat(
              coalesce(event_type, U&'\0001'), U&'\0002',
              coalesce(event_time, U&'\0001'), U&'\0002',
              coalesce(cast(product_id as string), U&'\0001'), U&'\0002',
              coalesce(cast(category_id as string), U&'\0001'), U&'\0002',
              coalesce(category_code, U&'\0001'), U&'\0002',
              coalesce(brand, U&'\0001'), U&'\0002',
              coalesce(cast(price as string), U&'\0001'), U&'\0002',
              coalesce(user_session, U&'\0001')
            )
          end
        ),
        1, 16
      ) as action,
      proctime() as arrived_at
    from raw_events
    where user_id is not null and event_at > to_timestamp_ltz(0, 3)
  )
)
where delivery = 1
