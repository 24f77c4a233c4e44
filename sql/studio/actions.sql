-- The deployed job decides in Java what an action is (docs/detection.md). This is the part of it that SQL says simply:
-- of equal events within one second, one counts; and of a session's carts, removals or purchases within one second, one.
create temporary view actions as
select subject, event_at, event_type, product_id, user_session
from (
  select *, row_number() over (partition by subject, second_at, thing order by arrived_at) as delivery
  from (
    select
      coalesce(concat('user#', user_id), concat('session#', user_session)) as subject,
      event_at,
      event_type,
      product_id,
      user_session,
      floor(cast(event_at as timestamp(3)) to second) as second_at,
      concat(event_type, '|', coalesce(user_session, ''), '|',
        case event_type when 'view' then coalesce(product_id, '') else '' end) as thing,
      proctime() as arrived_at
    from raw_events
    where event_type in ('view', 'cart', 'remove_from_cart', 'purchase')
  )
  where subject is not null
)
where delivery = 1
